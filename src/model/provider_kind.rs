//! The kinds of upstreams, by the names that configuration, record and log use.

/// The protocol that an upstream speaks. `provider::of` returns the provider of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    Ollama,
}

impl ProviderKind {
    /// Every kind with its name. The first is the default of the configuration.
    pub const NAMED: &[(&str, ProviderKind)] = &[("ollama", ProviderKind::Ollama)];

    pub fn name(self) -> &'static str {
        match self {
            ProviderKind::Ollama => "ollama",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_name_that_the_configuration_knows_it_by() {
        for (name, kind) in ProviderKind::NAMED {
            assert_eq!(kind.name(), *name);
        }
    }
}
