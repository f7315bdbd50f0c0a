//! What `/chat` and Ollama's own API share: Ollama's requests and answers, read and written in one place.

pub mod answer;
pub mod fields;
pub mod message;
pub mod options;
pub mod request;

/// The two ways in. They differ in what they make of fields that concern the model server as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front<'a> {
    /// `POST /chat`: scripts that were written for it. Such fields are refused, so that their author notices.
    Chat { default_model: &'a str },
    /// Ollama's own API: tools that were written for Ollama and send such fields unasked. They are left out and named in
    /// `x-ignored-parameters`, since a refusal would make these tools useless.
    Api,
}
