//! What Ollama means by the name of a model.

use crate::model::model_name::ModelName;

/// Ollama passes prompts for models whose tag is `cloud`, or whose name or tag ends in `-cloud`, on to its own servers.
pub fn is_cloud(model: &ModelName) -> bool {
    let name = model.as_str().to_ascii_lowercase();
    name.ends_with(":cloud") || name.ends_with("-cloud")
}

#[cfg(test)]
mod tests {
    use super::*;

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
