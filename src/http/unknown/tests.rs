use super::*;
use crate::dialect::TestHead;

fn told(path: &'static str, headers: &'static [(&'static str, &'static str)]) -> (String, Option<&'static str>) {
    let head = TestHead { path, headers };
    let meant = meant(&head);
    let hint = hint(path, meant.as_ref());
    let dialect = meant.map_or_else(|| of_client(&head), |meant| meant.dialect);
    (hint, dialect.map(Dialect::root))
}

fn said(path: &'static str) -> String {
    told(path, &[]).0
}

#[test]
fn slashes_too_many_are_told_with_the_path_that_is_meant() {
    for (path, meant) in [
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/v1/chat/completions///", "/v1/chat/completions"),
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1//embeddings", "/v1/embeddings"),
        ("/v1/completions/", "/v1/completions"),
        ("/chat/", "/chat"),
        ("//chat", "/chat"),
        ("//api/tags/", "/api/tags"),
        ("/v1/messages/", "/v1/messages"),
        ("/auth/token/", "/auth/token"),
        ("/api//v1/tokens/7/rotate/", "/api/v1/tokens/7/rotate"),
        ("/health/", "/health"),
    ] {
        assert_eq!(said(path), format!("it is `{meant}`, without slashes that are doubled or at the end"), "{path}");
    }
    for path in ["/nope/", "//", "/v1//nope", "/api/v1/"] {
        assert!(!said(path).starts_with("it is"), "{path}: {}", said(path));
    }
}

#[test]
fn a_wrong_base_url_is_told_in_the_dialect_of_the_route_that_is_meant() {
    const OPENAI: (&str, &str) = ("/v1", "ends in `/v1`");
    const ANTHROPIC: (&str, &str) = ("/v1/messages", "of an Anthropic client");
    const OLLAMA: (&str, &str) = ("/api", "of an Ollama client");
    for (path, meant, (root, words)) in [
        ("/chat/completions", "/v1/chat/completions", OPENAI),
        ("/completions", "/v1/completions", OPENAI),
        ("/embeddings", "/v1/embeddings", OPENAI),
        ("/models", "/v1/models", OPENAI),
        ("/models/llama3.2:latest", "/v1/models/llama3.2:latest", OPENAI),
        ("/responses", "/v1/responses", OPENAI),
        ("/v1/v1/models", "/v1/models", OPENAI),
        ("/v1/v1/chat/completions", "/v1/chat/completions", OPENAI),
        ("/openai/v1/chat/completions", "/v1/chat/completions", OPENAI),
        ("/openai/responses", "/v1/responses", OPENAI),
        ("/api/v1/chat/completions", "/v1/chat/completions", OPENAI),
        ("/api/chat/completions", "/v1/chat/completions", OPENAI),
        ("//chat/completions/", "/v1/chat/completions", OPENAI),
        ("/messages", "/v1/messages", ANTHROPIC),
        ("/v1/v1/messages", "/v1/messages", ANTHROPIC),
        ("/anthropic/v1/messages", "/v1/messages", ANTHROPIC),
        ("/api/v1/messages", "/v1/messages", ANTHROPIC),
        ("/v1/api/chat", "/api/chat", OLLAMA),
        ("/v1/api/tags", "/api/tags", OLLAMA),
        ("/ollama/api/generate", "/api/generate", OLLAMA),
        ("/api/api/tags", "/api/tags", OLLAMA),
    ] {
        let (hint, dialect) = told(path, &[]);
        assert!(hint.starts_with(&format!("it is `{meant}`: ")) && hint.contains(words), "{path}: {hint}");
        assert_eq!(dialect, Some(root), "{path}");
    }
    // Both have this route; the header tells whose client it is.
    let (hint, dialect) = told("/v1/v1/models", &[("anthropic-version", "2023-06-01")]);
    assert!(hint.contains("Anthropic client") && dialect == Some("/v1/messages"), "{hint}");
}

#[test]
fn the_gateway_s_own_routes_are_found_behind_a_base_url_too() {
    for (path, meant) in
        [("/v1/auth/token", "/auth/token"), ("/v1/health", "/health"), ("/gateway/api/v1/me", "/api/v1/me")]
    {
        assert_eq!(told(path, &[]), (format!("it is `{meant}`"), None), "{path}");
    }
}

#[test]
fn what_no_route_is_meant_by_is_told_where_the_routes_are() {
    for (path, words, root) in [
        ("/v1/v1/nope", "take one away", Some("/v1")),
        ("/v1/messages/batches", "batches are not offered", Some("/v1/messages")),
        ("/v1/responses/resp_1/nope", "OpenAI's responses", Some("/v1")),
        ("/api/nope", "Ollama's own API", Some("/api")),
        ("/api/me", "Ollama's own API", Some("/api")),
        ("/api", "Ollama's own API", Some("/api")),
        ("/v1/responsesx", "GET /openapi.json", Some("/v1")),
        ("/apiary", "GET /openapi.json", None),
        ("/v1/messagesx", "GET /openapi.json", Some("/v1")),
        ("/api/v1/nope", "GET /openapi.json", None),
        ("/api/v1/chat", "GET /openapi.json", None),
        ("/gateway/chat", "GET /openapi.json", None),
        ("/a/b/c/d/e/f/v1/messages", "GET /openapi.json", None),
    ] {
        let (hint, dialect) = told(path, &[]);
        assert!(hint.contains(words) && !hint.starts_with("it is"), "{path}: {hint}");
        assert_eq!(dialect, root, "{path}");
    }
}
