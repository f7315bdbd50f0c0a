//! One conversation in five languages: what each face can say reaches the upstream as the same native request, and what the
//! upstream answers is told in each. `docs/faces.md` shows these tables.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{Answer, TestGateway};

#[path = "faces/answers.rs"]
mod answers;
#[path = "faces/bad_input.rs"]
mod bad_input;
#[path = "faces/requests.rs"]
mod requests;

use answers::{AnswerRow, answer_rows};
use requests::{RequestRow, request_rows};

pub const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// The routes that chat, in the order of the columns.
pub const FACES: [(&str, &str); 5] = [
    ("Chat completions", "/v1/chat/completions"),
    ("Responses", "/v1/responses"),
    ("Messages", "/v1/messages"),
    ("Ollama", "/api/chat"),
    ("/chat", "/chat"),
];

/// Returns a request that says "Hi" and limits the answer, in the language of a face.
fn hi(face: usize) -> Value {
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    match face {
        0 => json!({ "model": "fake", "messages": messages, "max_completion_tokens": 50 }),
        1 => json!({ "model": "fake", "input": messages, "max_output_tokens": 50 }),
        2 => json!({ "model": "fake", "messages": messages, "max_tokens": 50 }),
        _ => json!({ "model": "fake", "messages": messages, "stream": false, "truncate": false,
            "options": { "num_predict": 50 } }),
    }
}

/// Adds fields to a request. What a name with `+` in front holds is put behind the items of that list, with `^` before them.
fn add(body: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        let items = |value: &Value| value.as_array().unwrap().clone();
        if let Some(name) = name.strip_prefix('+') {
            body[name].as_array_mut().unwrap().extend(items(value));
        } else if let Some(name) = name.strip_prefix('^') {
            body[name].as_array_mut().unwrap().splice(0..0, items(value));
        } else if value.is_object() && body[name].is_object() {
            add(&mut body[name], value);
        } else {
            body[name] = value.clone();
        }
    }
}

struct Scene {
    fake: FakeOllama,
    gateway: TestGateway,
    admin: String,
}

impl Scene {
    async fn new() -> Scene {
        let fake = FakeOllama::start();
        let lifted = [("LIMITS__REQUESTS_PER_MINUTE", "1000000"), ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000000")];
        let gateway = TestGateway::start_with(&fake.url(), &lifted);
        let admin = gateway.admin().await;
        Scene { fake, gateway, admin }
    }

    async fn ask(&self, face: usize, body: Value) -> Answer {
        let (name, path) = FACES[face];
        let answer = self.gateway.post(path, Some(&self.admin), body.clone()).await;
        assert_eq!(answer.status, 200, "{name}: {body}: {}", answer.text());
        answer
    }

    /// Returns what reaches the upstream when a face says all this; `None` if it has no words for some of it.
    async fn forwarded(&self, face: usize, rows: &[&RequestRow]) -> Option<String> {
        let mut body = hi(face);
        for row in rows {
            add(&mut body, row.cells[face].fields.as_ref()?);
        }
        let before = self.fake.chats().len();
        // Where a call is a must, this is read as one.
        let call = json!({ "name": "get_weather", "arguments": { "city": "Graz" } });
        self.fake.next(Script::of(vec![text(&call.to_string()), done("stop")]));
        self.ask(face, body).await;
        let chats = self.fake.chats();
        Some(String::from_utf8(chats[before].body.clone()).unwrap())
    }

    /// Checks that all faces that have words for all this forward the same. Returns how many they are, and what they forward.
    async fn forward_the_same(&self, rows: &[&RequestRow]) -> (usize, String) {
        let mut first: Option<(usize, String)> = None;
        let mut count = 0;
        for (face, (name, _)) in FACES.iter().enumerate() {
            let Some(forwarded) = self.forwarded(face, rows).await else { continue };
            count += 1;
            if let Some((other, expected)) = &first {
                let what: Vec<_> = rows.iter().map(|row| row.what).collect();
                assert_eq!(&forwarded, expected, "{what:?}: {name} and {}", FACES[*other].0);
            } else {
                first = Some((face, forwarded));
            }
        }
        (count, first.expect("a face that has words for it").1)
    }
}

#[actix_web::test]
async fn whatever_several_faces_can_say_reaches_the_upstream_as_the_same_request() {
    let scene = Scene::new().await;
    let rows = request_rows();

    let (_, plain) = scene.forward_the_same(&[]).await;
    for row in rows.iter().filter(|row| row.cells.iter().any(|cell| cell.fields.is_some())) {
        let (_, forwarded) = scene.forward_the_same(&[row]).await;
        assert!(forwarded != plain || row.is_silent, "`{}` had no effect", row.what);
    }
}

#[actix_web::test]
async fn what_a_face_has_no_words_for_is_named_or_refused() {
    let scene = Scene::new().await;

    for row in request_rows() {
        for (face, cell) in row.cells.iter().enumerate() {
            let Some(tried) = &cell.tried else { continue };
            let mut body = hi(face);
            add(&mut body, tried);
            let answer = scene.gateway.post(FACES[face].1, Some(&scene.admin), body).await;
            let told = (row.what, FACES[face].0, answer.text());
            if cell.words == requests::REFUSED {
                assert_eq!(answer.status, 400, "{told:?}");
                continue;
            }
            assert_eq!(answer.status, 200, "{told:?}");
            let ignored = answer.header("x-ignored-parameters").unwrap_or_default();
            for field in tried.as_object().unwrap().keys() {
                assert!(ignored.split(", ").any(|name| name == field), "{told:?}: {ignored}");
            }
        }
    }
}

#[actix_web::test]
async fn one_conversation_in_five_languages_is_one_request_byte_for_byte() {
    let scene = Scene::new().await;
    let rows = request_rows();
    let together = |row: &&RequestRow| !row.is_alone;

    // What all of them can say.
    let all = |row: &&RequestRow| row.cells.iter().all(|cell| cell.fields.is_some());
    let common: Vec<_> = rows.iter().filter(together).filter(all).collect();
    let (count, forwarded) = scene.forward_the_same(&common).await;
    assert_eq!(count, FACES.len());
    for said in ["Be brief.", "What is this?", PIXEL, "get_weather", "call_1", "sunny", "hm", "\"format\":{", "0.5"] {
        assert!(forwarded.contains(said), "`{said}` is missing in {forwarded}");
    }
    // What chat completions and another one can say.
    for (face, (name, _)) in FACES.iter().enumerate().skip(1) {
        let both = |row: &&RequestRow| [0, face].iter().all(|face| row.cells[*face].fields.is_some());
        let shared: Vec<_> = rows.iter().filter(together).filter(both).collect();
        let (one, other) = (scene.forwarded(0, &shared).await, scene.forwarded(face, &shared).await);
        assert_eq!(one, other, "{name}");
    }
}

/// The upstream thinks, speaks, calls a function, and ends.
fn everything() -> Script {
    let line = |message: Value| {
        let line = json!({ "model": "fake:latest", "created_at": "2026-01-01T00:00:00.1Z", "message": message, "done": false });
        Step::Send(format!("{line}\n").into_bytes())
    };
    let call =
        json!({ "id": "call_9", "function": { "index": 0, "name": "get_weather", "arguments": { "city": "Graz" } } });
    Script::of(vec![
        line(json!({ "role": "assistant", "content": "", "thinking": "hm" })),
        text("I look."),
        line(json!({ "role": "assistant", "content": "", "tool_calls": [call] })),
        done("stop"),
    ])
}

#[actix_web::test]
async fn what_the_upstream_answers_is_told_in_each_language() {
    let scene = Scene::new().await;
    let rows = request_rows();
    let tools = rows.iter().find(|row| row.what == "functions").unwrap();

    for (face, (name, path)) in FACES.iter().enumerate() {
        let mut body = hi(face);
        add(&mut body, tools.cells[face].fields.as_ref().unwrap());
        scene.fake.next(everything());
        let whole = scene.ask(face, body.clone()).await.json();
        scene.fake.next(Script::of(vec![text("Hello"), done("stop")]));
        let spoken = scene.ask(face, hi(face)).await.json();
        scene.fake.next(Script::of(vec![text("Hello"), done("length")]));
        let cut = scene.ask(face, hi(face)).await.json();
        let mut stream = hi(face);
        stream["stream"] = json!(true);
        let streamed = scene.ask(face, stream).await;
        let mut broken = hi(face);
        broken["stream"] = json!(true);
        scene.fake.next(Script::of(vec![text("Hello"), Step::Die]));
        let broken = scene.ask(face, broken).await.text();
        let wrong = scene.gateway.post(path, Some(&scene.admin), json!({ "model": 5 })).await;
        assert_eq!(wrong.status, 400);

        for row in answer_rows() {
            let cell = &row.cells[face];
            match row.seen_in {
                answers::SeenIn::Whole => cell.is_in(&whole, row.what, name),
                answers::SeenIn::Spoken => cell.is_in(&spoken, row.what, name),
                answers::SeenIn::Cut => cell.is_in(&cut, row.what, name),
                answers::SeenIn::Error => cell.is_in(&wrong.json(), row.what, name),
                answers::SeenIn::Stream => cell.ends(&streamed.text(), row.what, name),
                answers::SeenIn::Broken => cell.ends(&broken, row.what, name),
                answers::SeenIn::Headers => {
                    let header = cell.at.expect("a header");
                    assert!(streamed.header(header).is_some() && wrong.header(header).is_some(), "{name}: {header}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn the_record_shows_each_request_and_answer_alike() {
    let scene = Scene::new().await;
    let rows = request_rows();
    let all = |row: &&RequestRow| !row.is_alone && row.cells.iter().all(|cell| cell.fields.is_some());
    let common: Vec<_> = rows.iter().filter(all).collect();
    let mut stories = Vec::new();

    for (face, (_, path)) in FACES.iter().enumerate() {
        for stream in [false, true] {
            let mut body = hi(face);
            common.iter().for_each(|row| add(&mut body, row.cells[face].fields.as_ref().unwrap()));
            body["stream"] = json!(stream);
            scene.fake.next(everything());
            let answer = scene.ask(face, body).await;
            let story = format!("/api/v1/audit/{}", answer.header("x-request-id").unwrap());
            let story = scene.gateway.get(&story, Some(&scene.admin)).await.json();
            assert_eq!(story["api"], *path);
            let told =
                ["request", "answer", "reasoning", "tool_calls", "outcome", "status", "prompt_tokens", "answer_tokens"];
            stories.push(told.map(|field| story[field].clone()));
        }
    }

    let [request, answer, reasoning, tool_calls, outcome, ..] = &stories[0];
    assert!(request.as_str().unwrap().contains("What is this?"), "{request}");
    assert_eq!((answer, reasoning, outcome), (&json!("I look."), &json!("hm"), &json!("completed")));
    assert!(tool_calls.as_str().unwrap().contains("Graz"), "{tool_calls}");
    for story in &stories {
        assert_eq!(story, &stories[0]);
    }
}

/// Returns a table of Markdown.
fn table<'a>(rows: impl Iterator<Item = (&'a str, [&'a str; 5])>) -> String {
    let names: Vec<_> =
        FACES.iter().map(|(name, path)| if name == path { format!("`{path}`") } else { (*name).into() }).collect();
    let mut table = format!("| | {} |\n|---|---|---|---|---|---|\n", names.join(" | "));
    for (what, cells) in rows {
        table.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
    }
    table
}

#[test]
fn the_page_has_these_tables() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faces.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (requests, answers) = (request_rows(), answer_rows());
    let requests = table(requests.iter().map(|row: &RequestRow| (row.what, row.words())));
    let answers = table(answers.iter().map(|row: &AnswerRow| (row.what, row.words())));

    // Everything between a heading and the next text that is no row.
    let mut made = String::new();
    let mut lines = page.lines().peekable();
    let mut tables = [requests, answers].into_iter();
    while let Some(line) = lines.next() {
        if line.starts_with('|') {
            while lines.peek().is_some_and(|line| line.starts_with('|')) {
                lines.next();
            }
            made.push_str(&tables.next().expect("two tables"));
        } else {
            made.push_str(line);
            made.push('\n');
        }
    }
    assert!(tables.next().is_none(), "docs/faces.md needs two tables");
    if std::env::var_os("UPDATE_FACES").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == made, "UPDATE_FACES=1 writes the tables of docs/faces.md");
}
