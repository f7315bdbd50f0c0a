//! What: which requests are let through, and how far they are cut to size.

use crate::auth::Identity;
use crate::catalog::ModelCard;
use crate::chat::{ChatRequest, ModelName};
use crate::config::settings::{Live, Settings};
use crate::error::Error;
use crate::work::Work;

pub struct Policy {
    settings: Live,
}

/// A request that may be forwarded, and what was changed in it.
#[derive(Debug)]
pub struct Allowed {
    pub work: Work,
    pub notes: Vec<String>,
}

impl Policy {
    pub fn new(settings: Live) -> Self {
        Policy { settings }
    }

    /// A model that is not for them is one that does not exist.
    pub fn check_model(&self, who: &Identity, model: &ModelName) -> Result<(), Error> {
        if who.may_name(model) {
            return Ok(());
        }
        Err(Error::ModelNotFound { model: model.as_str().to_owned() })
    }

    /// The models that `who` may be told of.
    pub fn visible(&self, who: &Identity, mut models: Vec<ModelCard>) -> Vec<ModelCard> {
        models.retain(|card| who.may_name(&card.name) && !card.name.leaves_the_lan());
        models
    }

    pub fn check(&self, mut work: Work) -> Result<Allowed, Error> {
        let model = work.model();
        if model.leaves_the_lan() {
            let message = format!("model `{model}` would send the prompt off this host, which is not allowed here");
            return Err(Error::forbidden(message));
        }
        let settings = self.settings.now();
        check_prompt(&work, &settings)?;
        if let Work::Chat(chat) = &work {
            check_images(chat, &settings)?;
        }
        let mut notes = Vec::new();
        // A limit is always sent: a small model asked to count to ten may otherwise never stop.
        let most = settings.answer_tokens_max;
        if let Some(max_tokens) = work.max_tokens() {
            let asked = max_tokens.unwrap_or(most);
            if asked > most {
                notes.push(format!("clamped max_tokens from {asked} to {most}"));
            }
            *max_tokens = Some(asked.min(most));
        }
        Ok(Allowed { work, notes })
    }
}

fn check_prompt(work: &Work, settings: &Settings) -> Result<(), Error> {
    let limit = settings.prompt_bytes_max;
    if work.prompt_bytes() > limit {
        return Err(Error::TooLarge { field: Some(work.asks()), limit });
    }
    Ok(())
}

fn check_images(request: &ChatRequest, settings: &Settings) -> Result<(), Error> {
    let mut count = 0;
    for (at, message) in request.messages.iter().enumerate() {
        for (number, image) in message.images.iter().enumerate() {
            count += 1;
            let field = format!("messages[{at}].images[{number}]");
            let most = settings.images_per_request_max;
            if count > most {
                let message = format!("`{field}` is one image too many; at most {most} may be sent");
                return Err(Error::invalid(field, message));
            }
            let (bytes, most) = (image.0.len(), settings.image_bytes_max);
            if bytes > most {
                let message = format!("`{field}` has {bytes} bytes; an image may have at most {most}");
                return Err(Error::invalid(field, message));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Extra, Image, Message, Role, Sampling, Tool};

    fn request(model: &str, max_tokens: Option<u32>, images: &[usize]) -> Work {
        let mut message = Message::new(Role::User, "hello");
        message.images = images.iter().map(|bytes| Image(vec![0; *bytes].into())).collect();
        Work::Chat(ChatRequest {
            model: ModelName::parse(model).unwrap(),
            messages: vec![message],
            tools: Vec::new(),
            must_call: false,
            one_call: false,
            format: None,
            sampling: Sampling::default(),
            max_tokens,
            think: None,
            think_wish: None,
            logprobs: None,
            truncate: None,
            extra: Extra::default(),
        })
    }

    fn policy() -> Policy {
        Policy::new(Live::new(Settings::default()))
    }

    #[test]
    fn an_answer_always_has_a_limit_and_a_larger_one_is_cut() {
        let check = |tokens| policy().check(request("m", tokens, &[])).unwrap();

        assert_eq!(*check(None).work.max_tokens().unwrap(), Some(8192));
        assert_eq!(check(Some(8192)).notes.len(), 0);
        let mut cut = check(Some(8193));
        assert_eq!(*cut.work.max_tokens().unwrap(), Some(8192));
        assert_eq!(cut.notes, ["clamped max_tokens from 8193 to 8192"]);
    }

    #[test]
    fn one_image_of_five_megabytes_passes_and_no_more() {
        let most = 5 * 1024 * 1024;

        assert!(policy().check(request("m", None, &[most])).is_ok());
        assert_eq!(policy().check(request("m", None, &[most + 1])).unwrap_err().field(), Some("messages[0].images[0]"));
        assert_eq!(policy().check(request("m", None, &[1, 1])).unwrap_err().field(), Some("messages[0].images[1]"));
    }

    #[test]
    fn a_prompt_is_so_long_with_all_its_messages_and_tools_and_no_longer() {
        let Work::Chat(mut prompt) = request("m", None, &[100]) else { panic!("no chat") };
        prompt.messages = vec![Message::new(Role::System, "12345"), Message::new(Role::User, "äöü")];
        prompt.tools = vec![Tool { name: "add".into(), description: Some("adds".into()), parameters: None }];
        let prompt = Work::Chat(prompt);
        let settings = |most| Settings::default().with([("prompt_bytes_max", most)]);

        assert!(check_prompt(&prompt, &settings(18)).is_ok());
        let refused = check_prompt(&prompt, &settings(17)).unwrap_err();
        assert_eq!((refused.code(), refused.field()), ("request_too_large", Some("messages")));
    }

    #[test]
    fn names_that_leave_the_host_are_refused() {
        assert_eq!(policy().check(request("x:cloud", None, &[])).unwrap_err().code(), "permission_denied");
    }
}
