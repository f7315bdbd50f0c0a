//! `[log]`: form and level.

use crate::config::log_level;
use crate::config::reader::Reader;
use crate::config::values::one_of;

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Log {
    pub fn read(reader: &mut Reader) -> Self {
        Log {
            format: reader.key(
                "log.format",
                "\"text\"",
                "\"text\" or \"json\". Logs go to standard error and never hold a prompt, an answer or a secret.",
                one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            ),
            level: reader.key(
                "log.level",
                "\"info,actix_server=warn\"",
                "\"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a filter as in \"info,lan_gateway=debug\". \
                 With \"info,lan_gateway::access=off\" requests have no lines of their own.",
                log_level::filter,
            ),
        }
    }
}
