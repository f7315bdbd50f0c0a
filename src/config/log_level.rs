//! Checks `log.level`: levels, for everything or for a part.
//!
//! The parser of tracing takes a misspelt level for the name of a part and logs all of that part, and nothing else.

use toml::Value;
use tracing_subscriber::EnvFilter;

use crate::config::values::text;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Parses a list of LEVEL and PART=LEVEL, separated by commas.
pub fn filter(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    for directive in &directives {
        let (part, level) = match directive.rsplit_once('=') {
            Some((part, level)) => (Some(part), level),
            None => (None, *directive),
        };
        let name = part.map(|part| part.split('[').next().unwrap_or(part));
        if name.is_some_and(|name| !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))) {
            return Err(format!("`{directive}` names no part of a program; PART is as in \"info,lan_gateway=debug\""));
        }
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(format!(
                "`{level}` is no level; there are {}, and PART=LEVEL sets one for a part, as in \"info,lan_gateway=debug\"",
                LEVELS.join(", ")
            ));
        }
    }
    let filter = directives.join(",");
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(cause) => Err(format!("`{filter}` is not a filter: {cause}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused_wherever_it_stands() {
        let check = |text: &str| filter(&Value::String(text.to_owned()));
        for good in
            ["info", "INFO", "Warn", "off", "info,actix_server=warn", "a::b-c=TRACE", "lan_gateway[x{y=z}]=info"]
        {
            assert_eq!(check(good).as_deref(), Ok(good));
        }
        assert_eq!(check(" warn, lan_gateway=debug,").as_deref(), Ok("warn,lan_gateway=debug"));
        for bad in [
            "inof",
            "warning",
            "lan_gateway=inof",
            "info,lan_gateway",
            "lan_gateway=",
            "=info=",
            "a b=info",
            "fatal",
            "",
            "4",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
