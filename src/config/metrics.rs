//! `[metrics]`: the address at which monitoring reads them.

use std::net::SocketAddr;

use toml::Value;

use crate::config::reader::Reader;
use crate::config::values::parsed;

#[derive(Debug, Clone)]
pub struct MetricsSection {
    pub listen: Option<SocketAddr>,
}

impl MetricsSection {
    pub fn read(reader: &mut Reader) -> Self {
        MetricsSection {
            listen: reader.key(
                "metrics.listen",
                "\"\"",
                "An address and port of its own for GET /metrics, as in \"127.0.0.1:9464\", without authentication. \
                 Everybody who reaches it sees counts and times, and the names of models and upstreams: no prompts, no \
                 people, no addresses. So keep it to loopback or a network for management. \
                 Empty: GET /metrics is served at `listen` alone, for admins and for tokens with the scope `metrics`.",
                address,
            ),
        }
    }
}

fn address(value: &Value) -> Result<Option<SocketAddr>, String> {
    if value.as_str() == Some("") {
        return Ok(None);
    }
    parsed("an address and port, as in \"127.0.0.1:9464\", or empty")(value).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_address_is_none_and_nonsense_is_refused() {
        let read = |text: &str| address(&Value::String(text.to_owned()));

        assert_eq!(read(""), Ok(None));
        assert_eq!(read("127.0.0.1:9464"), Ok("127.0.0.1:9464".parse().ok()));
        for bad in ["127.0.0.1", "localhost:9464", " ", ":9464"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
