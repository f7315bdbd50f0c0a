//! What Ollama means by the name of a model.

use crate::model::model_name::ModelName;

/// Returns the name in lower case and with a tag: Ollama ignores case, and takes a name without a tag for `:latest`.
pub fn canonical(model: &ModelName) -> String {
    let mut name = model.as_str().to_ascii_lowercase();
    let last_part = name.rsplit('/').next().unwrap_or(&name);
    if !last_part.contains(':') {
        name.push_str(":latest");
    }
    name
}

/// Returns whether Ollama sends prompts for this model to its makers' servers: the tag is `cloud`, or the name or the tag ends
/// in `-cloud`.
pub fn is_cloud(model: &ModelName) -> bool {
    let name = model.as_str().to_ascii_lowercase();
    name.ends_with(":cloud") || name.ends_with("-cloud")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_differ_in_case_and_the_default_tag() {
        let canonical = |name| canonical(&ModelName::parse(name).unwrap());

        assert_eq!(canonical("Llama3.2"), canonical("llama3.2:latest"));
        assert_ne!(canonical("llama3.2:1b"), canonical("llama3.2"));
        assert_eq!(canonical("hf.co/user/Repo"), "hf.co/user/repo:latest");
        assert_eq!(canonical("localhost:5000/m"), "localhost:5000/m:latest");
    }

    #[test]
    fn cloud_names_are_known_as_such() {
        let is_cloud = |name| is_cloud(&ModelName::parse(name).unwrap());

        for cloud in ["x:cloud", "x:70b-cloud", "x-cloud", "X:CLOUD", "a/b:cloud"] {
            assert!(is_cloud(cloud), "{cloud}");
        }
        for local in ["x-cloud:latest", "cloudy:7b", "cloud", "cloud:7b"] {
            assert!(!is_cloud(local), "{local}");
        }
    }
}
