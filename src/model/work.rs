//! A request to a model: a chat, a completion, embeddings, or only that it is loaded.

use crate::model::chat::{ChatRequest, Think};
use crate::model::complete::CompleteRequest;
use crate::model::embed::EmbedRequest;
use crate::model::model_name::ModelName;

#[derive(Debug, Clone)]
pub enum Work {
    Chat(ChatRequest),
    Complete(CompleteRequest),
    Embed(EmbedRequest),
    /// Nothing but that the model is in memory when the next request comes.
    Load(ModelName),
}

/// Typical cost of an image: models that see use some 250 to 1,600 tokens.
const IMAGE_TOKENS: u64 = 1000;

/// Estimates the tokens of a chat's prompt, before a model has counted them.
pub fn guess_prompt_tokens(chat: &ChatRequest) -> u64 {
    guess_tokens(chat.prompt_bytes()) + guess_image_tokens(chat)
}

fn guess_image_tokens(chat: &ChatRequest) -> u64 {
    let images: usize = chat.messages.iter().map(|message| message.images().count()).sum();
    IMAGE_TOKENS * images as u64
}

/// Estimates four bytes a token, as in English; models and languages differ by a factor of two.
fn guess_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

impl Work {
    pub fn model(&self) -> &ModelName {
        match self {
            Work::Chat(chat) => &chat.model,
            Work::Complete(complete) => &complete.model,
            Work::Embed(embed) => &embed.model,
            Work::Load(model) => model,
        }
    }

    /// Name of the request field that carries the prompt, for error messages.
    pub fn prompt_field(&self) -> &'static str {
        match self {
            Work::Chat(chat) => chat.prompt_field,
            Work::Complete(_) => "prompt",
            Work::Embed(embed) => embed.prompt_field,
            Work::Load(_) => "model",
        }
    }

    /// Returns the bytes of text that a model would read.
    pub fn prompt_bytes(&self) -> usize {
        match self {
            Work::Chat(chat) => chat.prompt_bytes(),
            Work::Complete(complete) => complete.prompt.len() + complete.suffix.as_ref().map_or(0, String::len),
            Work::Embed(embed) => embed.texts.iter().map(String::len).sum(),
            Work::Load(_) => 0,
        }
    }

    /// Returns the bytes that it takes in memory: its text and its images.
    pub fn bytes_held(&self) -> usize {
        let images = match self {
            Work::Chat(chat) => {
                chat.messages.iter().flat_map(|message| message.images()).map(|image| image.bytes.len()).sum()
            }
            Work::Complete(_) | Work::Embed(_) | Work::Load(_) => 0,
        };
        self.prompt_bytes() + images
    }

    /// Estimates the prompt's tokens before a model has counted them; `bytes` is the result of `prompt_bytes`.
    pub fn guess_prompt_tokens(&self, bytes: usize) -> u64 {
        let images = match self {
            Work::Chat(chat) => guess_image_tokens(chat),
            Work::Complete(_) | Work::Embed(_) | Work::Load(_) => 0,
        };
        guess_tokens(bytes) + images
    }

    /// Estimates the tokens that must fit the context at once: of several texts to be embedded, the longest.
    pub fn guess_context_tokens(&self, bytes: usize) -> u64 {
        match self {
            Work::Embed(embed) => guess_tokens(embed.texts.iter().map(String::len).max().unwrap_or(0)),
            Work::Chat(_) | Work::Complete(_) | Work::Load(_) => self.guess_prompt_tokens(bytes),
        }
    }

    /// Returns the caller's name of the field that asks for thinking, if a model that can't think may leave it out.
    pub fn optional_thinking(&self) -> Option<&'static str> {
        match self {
            // `think: off` needs no capability.
            Work::Chat(chat) => chat.think.filter(|think| think.level != Think::Off)?.optional,
            Work::Complete(_) | Work::Embed(_) | Work::Load(_) => None,
        }
    }

    /// Returns the caller's field of the first image.
    pub fn first_image(&self) -> Option<&str> {
        let Work::Chat(chat) = self else { return None };
        let image = chat.messages.iter().find_map(|message| message.images().next())?;
        Some(&image.field)
    }

    pub fn leave_out_thinking(&mut self) {
        if let Work::Chat(chat) = self {
            chat.think = None;
        }
    }

    /// Moves a fixed seed on for the answer number `choice` of several: the same seed would give the same answer.
    pub fn move_seed(&mut self, choice: u8) {
        let sampling = match self {
            Work::Chat(chat) => &mut chat.sampling,
            Work::Complete(complete) => &mut complete.sampling,
            Work::Embed(_) | Work::Load(_) => return,
        };
        sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(choice.into()));
    }

    /// Returns the limit of the answer in model tokens, as the caller asked; `None` where no tokens are generated.
    pub fn max_tokens(&mut self) -> Option<&mut Option<u32>> {
        match self {
            Work::Chat(chat) => Some(&mut chat.max_tokens),
            Work::Complete(complete) => Some(&mut complete.max_tokens),
            Work::Embed(_) | Work::Load(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chat::Sampling;

    #[test]
    fn a_fixed_seed_is_another_for_each_answer_and_none_stays_none() {
        let seed = |seed: Option<i64>, choice| {
            let model = ModelName::parse("m").unwrap();
            let sampling = Sampling { seed, ..Sampling::default() };
            let mut work = Work::Chat(ChatRequest { sampling, ..ChatRequest::new(model, Vec::new()) });
            work.move_seed(choice);
            let Work::Chat(chat) = work else { panic!("no chat") };
            chat.sampling.seed
        };

        assert_eq!((seed(Some(7), 0), seed(Some(7), 2), seed(None, 2)), (Some(7), Some(9), None));
        assert_eq!(seed(Some(i64::MAX), 1), Some(i64::MIN));
    }

    #[test]
    fn a_prompt_is_guessed_by_its_length_and_texts_fit_a_context_one_by_one() {
        let texts = vec!["x".repeat(5), "y".repeat(8)];
        let model = ModelName::parse("m").unwrap();
        let embed = Work::Embed(EmbedRequest { model, texts, dimensions: None, too_long: None, prompt_field: "input" });

        assert_eq!(embed.guess_prompt_tokens(embed.prompt_bytes()), 4);
        assert_eq!(embed.guess_context_tokens(embed.prompt_bytes()), 2);
    }
}
