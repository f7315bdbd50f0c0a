use super::*;

/// A dialect that shares the list of models with OpenAI's, and whose clients send a version.
struct Versioned;

impl Dialect for Versioned {
    fn root(&self) -> &'static str {
        "/v1/versioned"
    }

    fn routes(&self) -> &'static [Route] {
        const ROUTES: &[Route] = &[
            Route { method: "GET", path: "/v1/models", serves: Serves::List(list) },
            Route { method: "POST", path: "/v1/versioned", serves: Serves::Inference(Scope::Chat) },
        ];
        fn list(_: &dyn Head, _: &[ModelCard]) -> Result<Reply, Error> {
            Ok(wire::json_reply(&"versioned"))
        }
        ROUTES
    }

    fn is_read_by(&self, head: &dyn Head) -> bool {
        is_below(head.path(), self.root()) || head.header("client-version").is_some()
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, _: &dyn Head, _: &[u8]) -> Result<Decoded, Error> {
        Err(Error::invalid("body", "never read"))
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        wire::plain_error(error, &"versioned")
    }
}

fn head(path: &'static str) -> TestHead {
    TestHead { path, headers: &[] }
}

#[test]
fn the_dialect_of_a_client_is_known_by_the_path() {
    for (root, paths) in [
        (Some("/chat"), &["/chat", "/chat/", "//chat"][..]),
        (Some("/v1"), &["/v1/chat/completions", "/v1/models", "/v1", "//v1//nope", "/v1/messagesx"]),
        (Some("/v1/messages"), &["/v1/messages", "/v1/messages/count_tokens", "/v1//messages/"]),
        (Some("/api"), &["/api", "/api/tags", "/api//chat", "/api/v1x"]),
        (None, &["/", "/health", "/chat/completions", "/api/v1", "/api/v1/users", "/api//v1/users", "/v1x", "/apiary"]),
    ] {
        for path in paths {
            assert_eq!(of_client(&head(path)).map(|dialect| dialect.root()), root, "{path}");
        }
    }
}

#[test]
fn of_dialects_with_the_same_route_the_one_that_the_client_reads_answers() {
    let routes = SharedRoute::all(&[&Versioned, &openai::OpenAi]);
    let route = |path: &str| routes.iter().find(|route| route.path == path).unwrap();
    let root = |path: &'static str, headers| {
        let (dialect, _) = route(path).answering(&TestHead { path, headers }).unwrap();
        dialect.root()
    };

    assert_eq!(routes.iter().filter(|route| route.path == "/v1/models").count(), 1);
    assert_eq!(root("/v1/models", &[]), "/v1");
    assert_eq!(root("/v1/models", &[("client-version", "1")]), "/v1/versioned");
    // A route that no other dialect has is answered in its own, whatever the client sends.
    assert_eq!(root("/v1/versioned", &[]), "/v1/versioned");
    assert_eq!(root("/v1/embeddings", &[("client-version", "1")]), "/v1");
    assert!(route("/v1/embeddings").is_inference() && !route("/v1/models").is_inference());
}
