//! Texts that are meant to do harm where they are read: as a page, as a formula, as more fields than one.

use lan_gateway::dialect::DIALECTS;
use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, done, text};
use crate::support::gateway::{TestGateway, client, hello};

const FOR_PAGES: [&str; 12] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "<!--<script>-->",
    "]]><script>alert(1)</script>",
    "\u{202e}gpj.exe\u{2066}\u{200b}",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "line\u{2028}separator\u{2029}and\u{85}more",
    "<a href=\"data:text/html;base64,PHNjcmlwdD4=\">x</a>",
];

/// What begins a formula, ends a field or a line, or ends a reader.
fn for_tables() -> Vec<String> {
    let mut texts: Vec<String> = [
        "=1+1",
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "-",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\r\n=1",
        "\0",
        "\0=1",
        "'",
        "''",
        "'=1",
        "＝1",
        "＋1",
        "－1",
        "＠1",
        "\"",
        "\"\"",
        "\",\"",
        ",",
        ",,,",
        "a\"b,c",
        "a\rb",
        "a\nb",
        "a\r\nb",
        "\r",
        "\n",
        "␀",
        "␀0",
        "␀␀",
        "a\0b",
        "\u{feff}=1",
        " =1",
        "ends with a quote\"",
        "text;=2+2;x",
        "a;\"=2+2",
        "a|-2\t+2",
        "a;'b",
        "points:\n- one\r\n- two",
        "ends with a separator;",
        "receipt:abc",
        "größer 🙂",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("=".repeat(1_000_000));
    texts.push(format!("\"{}", "a,\"\r\n".repeat(200_000)));
    texts.extend(FOR_PAGES.map(str::to_owned));
    texts
}

/// What `src/sheet.rs` says about reading a cell back.
fn restored(cell: &str) -> String {
    let edges =
        [';', '\t', '|', '\r', '\n', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut letters = cell.chars().peekable();
    letters.next_if_eq(&'\'');
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '␀' if letters.next() == Some('0') => text.push('\0'),
            letter => text.push(letter),
        }
        if edges.contains(&letter) {
            letters.next_if_eq(&'\'');
        }
    }
    text
}

/// A gateway that was sent each of `texts`, and answered with it.
async fn told(fake: &FakeOllama, texts: &[String]) -> (TestGateway, String) {
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    for said in texts {
        fake.next(Script::of(vec![text(said), done("stop")]));
        let mut body = hello();
        body["messages"][0]["content"] = json!(said);
        let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;
        let shown: String = said.chars().take(40).collect();
        assert_eq!(answer.status, 200, "{shown:?}: {}", answer.text());
    }
    (gateway, admin)
}

#[actix_web::test]
async fn no_cell_of_an_export_is_a_formula_and_every_text_comes_back_to_the_byte() {
    let fake = FakeOllama::start();
    let texts = for_tables();
    let (gateway, admin) = told(&fake, &texts).await;

    let export = gateway.export(&admin, "admin", "csv").await;

    let mut reader = csv::ReaderBuilder::new().has_headers(true).flexible(false).from_reader(export.as_bytes());
    let lines: Vec<csv::StringRecord> = reader.records().map(|line| line.expect("the same number of fields")).collect();
    assert_eq!(lines.len(), texts.len() + 1);
    assert!(lines[texts.len()][0].starts_with("receipt:"), "the receipt is a line as the others");
    for (line, text) in lines.iter().zip(&texts) {
        let shown: String = text.chars().take(40).collect();
        assert!(restored(&line[2]) == *text, "an answer was changed: {shown:?}");
        let asked: Value = serde_json::from_str(&restored(&line[1])).unwrap();
        assert!(asked[0]["content"] == json!(text), "a prompt was changed: {shown:?}");
        for cell in line {
            let begins_formula = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
            assert!(!cell.starts_with(begins_formula) && !cell.contains('\0'), "{shown:?}");
        }
    }
    assert!(export.ends_with("\"\r\n") && !export.starts_with('\u{feff}'));

    let export = gateway.export(&admin, "admin", "jsonl").await;
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), texts.len() + 1, "one line for each request, whatever is in it");
    for (line, text) in lines.iter().zip(&texts) {
        assert!(line["response"] == json!(text) && line["prompt"][0]["content"] == json!(text));
    }
}

/// A type alone is read as Latin-1 by Windows PowerShell, and whatever else goes by HTTP alone.
const JSON: &str = "application/json; charset=utf-8";

/// Every answer that shows somebody's text is JSON, says so, and may not be taken for anything else; a download is kept apart.
#[actix_web::test]
async fn what_people_and_models_wrote_is_never_shown_as_a_page() {
    let fake = FakeOllama::start();
    let texts = FOR_PAGES.map(str::to_owned);
    let (gateway, admin) = told(&fake, &texts).await;
    gateway.user(&admin, "ann").await;
    let ann = format!("/api/v1/users/{}", gateway.id_of(&admin, "ann").await);
    let safe = async |method: &str, path: &str, body: Value| {
        let answer = gateway.send(method, path, Some(&admin), body.to_string().into_bytes()).await;
        let kind = answer.header("content-type").unwrap_or_default().to_owned();
        assert!(
            [JSON, "text/csv; charset=utf-8", "application/x-ndjson; charset=utf-8"].contains(&kind.as_str()),
            "{path}: {kind}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(kind == JSON || answer.header("content-disposition").unwrap().starts_with("attachment"));
        answer
    };

    for (text, row) in texts.iter().rev().zip(gateway.record(&admin).await) {
        let story =
            safe("GET", &format!("/api/v1/audit/{}", row["request_id"].as_str().unwrap()), json!(null)).await.json();
        assert_eq!(&story["answer"], text, "as it was, between quotes");
    }
    for text in &texts {
        // What can't be seen, or turns the direction of writing, is no note; between quotes it would be harmless, too.
        let noted = safe("PATCH", &ann, json!({ "note": text })).await;
        let hidden = text.chars().any(|letter| letter.is_control() || !(' '..='~').contains(&letter));
        assert_eq!(noted.status, if hidden { 400 } else { 200 }, "{text:?}");
        assert!(hidden || noted.json()["note"] == json!(text));
        let made = safe("POST", "/api/v1/tokens", json!({ "name": text, "expires_in_days": 1 })).await;
        assert!([201, 400].contains(&made.status), "{}", made.text());
        safe("POST", "/api/v1/register", json!({ "email": format!("{text}@example.org"), "password": text })).await;
        safe("POST", "/auth/token", json!({ "username": text, "password": text })).await;
        for route in DIALECTS.iter().flat_map(|dialect| dialect.routes()).filter(|route| route.is_inference()) {
            safe("POST", route.path, json!({ "model": text, "messages": [{ "role": text, "content": text }] })).await;
            safe("POST", route.path, json!(text)).await;
        }
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in [
            format!("/v1/models/{escaped}"),
            format!("/api/v1/users/{escaped}"),
            format!("/{escaped}"),
            format!("/api/v1/audit?kind={escaped}"),
            format!("/api/v1/audit?{escaped}=1"),
            format!("/api/v1/usage?by={escaped}"),
        ] {
            assert!(safe("GET", &path, json!(null)).await.status >= 400, "{path}");
        }
    }
    for path in [
        "/api/v1/audit",
        "/api/v1/me/record",
        "/api/v1/tokens",
        "/api/v1/users",
        "/api/v1/me/export?format=jsonl",
        "/v1/models",
        "/health",
        "/openapi.json",
    ] {
        assert_eq!(safe("GET", path, json!(null)).await.status, 200, "{path}");
    }
    // Nobody's words about themselves come back.
    let agent = client().get(format!("{}/api/v1/me", gateway.url)).insert_header(("user-agent", FOR_PAGES[0]));
    let body = agent.bearer_auth(&admin).send().await.unwrap().body().await.unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("<script>"));
}
