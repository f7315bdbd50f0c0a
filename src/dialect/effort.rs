//! How hard a model should think, in the words of OpenAI and Anthropic.

use serde::Deserialize;

use crate::model::chat::Think;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
    Ultra,
}

impl From<Effort> for Think {
    fn from(effort: Effort) -> Self {
        match effort {
            Effort::None => Think::Off,
            Effort::Minimal | Effort::Low => Think::Low,
            Effort::Medium => Think::Medium,
            Effort::High => Think::High,
            Effort::XHigh | Effort::Max | Effort::Ultra => Think::Max,
        }
    }
}
