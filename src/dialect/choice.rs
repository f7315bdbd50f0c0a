//! Which of the tools the model may call, or must.

use crate::base::error::Error;
use crate::model::chat::Tool;

/// What the model may do with the tools.
#[derive(Debug, Default, PartialEq)]
pub enum Choice {
    #[default]
    Auto,
    None,
    Required,
    /// Only these, each with its path in the request.
    Among {
        names: Vec<(String, String)>,
        must_call: bool,
    },
}

impl Choice {
    /// Returns the tools that may be called, and whether one of them must be.
    pub fn apply(self, mut tools: Vec<Tool>) -> Result<(Vec<Tool>, bool), Error> {
        let (names, must_call) = match self {
            Choice::Auto => return Ok((tools, false)),
            Choice::None => return Ok((Vec::new(), false)),
            Choice::Required => (None, true),
            Choice::Among { names, must_call } => (Some(names), must_call),
        };
        if let Some(names) = names {
            for (name, place) in &names {
                if !tools.iter().any(|tool| tool.name == *name) {
                    let message = format!("`{place}` names a function that is not among `tools`");
                    return Err(Error::invalid(place, message));
                }
            }
            tools.retain(|tool| names.iter().any(|(name, _)| *name == tool.name));
        }
        if must_call && tools.is_empty() {
            return Err(Error::invalid(
                "tool_choice",
                "`tool_choice` asks for a call, but there is no function in `tools`",
            ));
        }
        Ok((tools, must_call))
    }
}
