//! The gateway from outside: one process of it per test, in front of a scripted Ollama.

#[path = "support/mod.rs"]
mod support;

#[path = "api/access_log.rs"]
mod access_log;
#[path = "api/accounts.rs"]
mod accounts;
#[path = "api/backups.rs"]
mod backups;
#[path = "api/bad_input.rs"]
mod bad_input;
#[path = "api/behalf.rs"]
mod behalf;
#[path = "api/behalf_headers.rs"]
mod behalf_headers;
#[path = "api/behalf_tools.rs"]
mod behalf_tools;
#[path = "api/canaries.rs"]
mod canaries;
#[path = "api/chain.rs"]
mod chain;
#[path = "api/chat.rs"]
mod chat;
#[path = "api/choices.rs"]
mod choices;
#[path = "api/command_both_ways.rs"]
mod command_both_ways;
#[path = "api/command_line.rs"]
mod command_line;
#[path = "api/command_mistakes.rs"]
mod command_mistakes;
#[path = "api/command_names.rs"]
mod command_names;
#[path = "api/command_output.rs"]
mod command_output;
#[path = "api/command_passwords.rs"]
mod command_passwords;
#[path = "api/completions.rs"]
mod completions;
#[path = "api/configuration.rs"]
mod configuration;
#[path = "api/cutting.rs"]
mod cutting;
#[path = "api/deletion.rs"]
mod deletion;
#[path = "api/disk_full.rs"]
mod disk_full;
#[path = "api/doctor.rs"]
mod doctor;
#[path = "api/durability.rs"]
mod durability;
#[path = "api/embeddings.rs"]
mod embeddings;
#[path = "api/exports.rs"]
mod exports;
#[path = "api/faces.rs"]
mod faces;
#[path = "api/faces_errors.rs"]
mod faces_errors;
#[path = "api/guessing.rs"]
mod guessing;
#[path = "api/host.rs"]
mod host;
#[path = "api/hosts.rs"]
mod hosts;
#[path = "api/http_versions.rs"]
mod http_versions;
#[path = "api/https.rs"]
mod https;
#[path = "api/https_upstreams.rs"]
mod https_upstreams;
#[path = "api/incident.rs"]
mod incident;
#[path = "api/keys.rs"]
mod keys;
#[path = "api/leaving.rs"]
mod leaving;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/logs.rs"]
mod logs;
#[path = "api/manage.rs"]
mod manage;
#[path = "api/memory.rs"]
mod memory;
#[path = "api/messages.rs"]
mod messages;
#[path = "api/metrics.rs"]
mod metrics;
#[path = "api/notice_channels.rs"]
mod notice_channels;
#[path = "api/notice_delivery.rs"]
mod notice_delivery;
#[path = "api/notice_receivers.rs"]
mod notice_receivers;
#[path = "api/notices.rs"]
mod notices;
#[path = "api/numbers.rs"]
mod numbers;
#[path = "api/ollama_api.rs"]
mod ollama_api;
#[path = "api/others.rs"]
mod others;
#[path = "api/own_record.rs"]
mod own_record;
#[path = "api/panics.rs"]
mod panics;
#[path = "api/payloads.rs"]
mod payloads;
#[path = "api/poison.rs"]
mod poison;
#[path = "api/proxies.rs"]
mod proxies;
#[path = "api/pulse.rs"]
mod pulse;
#[path = "api/quotas.rs"]
mod quotas;
#[path = "api/reasoning.rs"]
mod reasoning;
#[path = "api/recipes.rs"]
mod recipes;
#[path = "api/record.rs"]
mod record;
#[path = "api/record_filters.rs"]
mod record_filters;
#[path = "api/responses.rs"]
mod responses;
#[path = "api/retention.rs"]
mod retention;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/role_matrix.rs"]
mod role_matrix;
#[path = "api/runaway.rs"]
mod runaway;
#[path = "api/schemas.rs"]
mod schemas;
#[path = "api/search.rs"]
mod search;
#[path = "api/service.rs"]
mod service;
#[path = "api/settings.rs"]
mod settings;
#[path = "api/sharing.rs"]
mod sharing;
#[path = "api/stopping.rs"]
mod stopping;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/tools.rs"]
mod tools;
#[path = "api/upstream.rs"]
mod upstream;
#[path = "api/upstreams.rs"]
mod upstreams;
#[path = "api/usage.rs"]
mod usage;
