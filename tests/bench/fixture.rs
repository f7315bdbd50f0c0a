//! `make fixture`: the record of a team's year, a million rows, in a data folder that a gateway then opens.
//!
//! Rows, texts, times and salts are the same in every run; ids of accounts and their secrets are not. Accounts are made by
//! the gateway's own verbs, the rows are put into its file (its writer would stamp them with today), and its own followers
//! then sum up usage and index the words.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use lan_gateway::base::secret::Secret;
use lan_gateway::config::Config;
use lan_gateway::config::settings::Live;
use lan_gateway::model::commitment::{Committed, SALT_OF_ACTS, commitment_to};
use lan_gateway::model::people::Actor;
use lan_gateway::rules::tokens::{Tokens, Wish};
use lan_gateway::serve::app::{SECRETS, people};
use lan_gateway::store::audit::commitment_of_result;
use lan_gateway::store::chain::CheckpointKey;
use lan_gateway::store::schema::{record, record_part};
use lan_gateway::store::users::Pending;
use lan_gateway::store::{FILE, Store};
use serde_json::{Value, json};

mod words;
use words::{Dice, Words};

const ROWS: i64 = 1_000_000;
/// Of these, the rows of the one who is to be deleted: a pipeline.
const PIPELINE_ROWS: i64 = 50_000;
const SEED: u64 = 20_250_101;

/// 2025-01-01T00:00:00Z, and how long the record goes on.
const BEGIN_US: i64 = 1_735_689_600_000_000;
const YEAR_US: f64 = 365.0 * 24.0 * 3600.0 * 1e6;

const ADMIN_PASSWORD: &str = "seven grey herons wade";
const PASSWORD: &str = "quiet lamps over water";
const PIPELINE: &str = "pipeline@example.org";
const PEOPLE: usize = 20;

/// Who has tokens: how many, and the place in the list of people, of which the pipeline is the first.
const TOKENS: [(usize, usize); 5] = [(0, 2), (3, 1), (7, 2), (11, 1), (15, 1)];

/// To be found in one prompt of so many, whatever else is in it.
const RARE: (&str, usize) = ("zeppelinpost", 20_000);
const PHRASE: (&str, usize) = ("pressure valve", 500);

const MODELS: [(&str, f64); 6] = [
    ("llama3.2:latest", 50.0),
    ("qwen2.5:7b", 25.0),
    ("mistral:7b", 15.0),
    ("gemma2:9b", 7.0),
    ("phi3:mini", 2.8),
    ("codellama:34b", 0.2),
];
const APIS: [(&str, f64); 4] =
    [("/v1/chat/completions", 70.0), ("/chat", 20.0), ("/v1/completions", 7.0), ("/v1/embeddings", 3.0)];
const OUTCOMES: [(&str, Option<&str>, i64, f64); 5] = [
    ("completed", None, 200, 95.0),
    ("abandoned", None, 0, 2.0),
    ("failed", Some("upstream_timeout"), 504, 1.5),
    ("failed", Some("upstream_unreachable"), 502, 1.0),
    ("interrupted", Some("gateway_stopped"), 0, 0.5),
];
const REASONS: [(&str, i64); 4] =
    [("rate_limit_exceeded", 429), ("invalid_request", 400), ("model_not_found", 404), ("permission_denied", 403)];
const ACTS: [&str; 5] = ["contents_viewed", "contents_searched", "user_changed", "token_created", "export_finished"];

/// Events in one transaction.
const BATCH: usize = 5_000;

#[derive(Insertable, Clone, Default)]
#[diesel(table_name = record, treat_none_as_default_value = false)]
struct Row {
    log_id: i64,
    kind: &'static str,
    at_us: i64,
    request_id: Vec<u8>,
    intent_id: Option<i64>,
    user_id: Option<i64>,
    token_id: Option<i64>,
    act: Option<&'static str>,
    subject_id: Option<i64>,
    credential: Option<&'static str>,
    api: Option<&'static str>,
    provider: Option<&'static str>,
    host: Option<&'static str>,
    attempt: Option<i64>,
    model_asked: Option<&'static str>,
    model_served: Option<&'static str>,
    outcome: Option<&'static str>,
    reason: Option<&'static str>,
    status: Option<i64>,
    prompt_tokens: Option<i64>,
    answer_tokens: Option<i64>,
    queued_us: Option<i64>,
    first_token_us: Option<i64>,
    total_us: Option<i64>,
    gpu_us: Option<i64>,
    until_us: Option<i64>,
    repeat: Option<i64>,
    commitment: Option<Vec<u8>>,
}

#[derive(Insertable)]
#[diesel(table_name = record_part)]
struct Part {
    log_id: i64,
    part: i64,
    kind: &'static str,
    encoding: i64,
    body: Vec<u8>,
}

/// Somebody who asks: the key of the account, and of its tokens.
struct Person {
    id: i64,
    tokens: Vec<i64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the data folder to be made"));
    std::fs::create_dir_all(&folder)?;
    let began = Instant::now();
    let config = Config::resolve("", [("LGW_DATA_DIR".to_owned(), folder.display().to_string())])
        .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;

    let team = make_people(&config).await?;
    let (rows, parts) = History::new(team).write(&folder)?;
    eprintln!("{rows} rows and {parts} contents after {:.0} s", began.elapsed().as_secs_f64());

    let store = Store::open(&folder, Live::new(config.settings))?;
    while store.follow_usage(lan_gateway::provider::canonical).await? {}
    eprintln!("usage after {:.0} s", began.elapsed().as_secs_f64());
    while store.follow_words().await? {}
    let key = CheckpointKey::load(&folder.join(SECRETS), &store).await?;
    while store.follow_chain(&key).await? {}
    store.advance_closed().await?;
    // While the last checkpoint runs, this is refused.
    while store.truncate_wal().await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.close();
    eprintln!("words after {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn make_people(config: &Config) -> anyhow::Result<Vec<Person>> {
    let store = Store::open(&config.data_dir, Live::new(config.settings))?;
    let (auth, accounts) = people(config, &store)?;
    accounts.ensure_first_admin().await?;
    let hash = auth.passwords.hash(Secret::new(ADMIN_PASSWORD.to_owned())).await?;
    let admin = store.people().by_name("admin").cloned().expect("the first admin");
    store.change_password(admin.id, admin.password_hash.clone().unwrap_or_default(), hash).await?;
    let hash = auth.passwords.hash(Secret::new(PASSWORD.to_owned())).await?;
    let tokens = Tokens::new(store.clone(), &config.tokens);
    let mut team = Vec::new();
    let most = Pending { max: PEOPLE as i64, of_network_max: PEOPLE as i64 };
    for number in 0..PEOPLE {
        let name = if number == 0 { PIPELINE.to_owned() } else { format!("person-{number:02}@example.org") };
        store.register(name.clone(), hash.clone(), None, most).await?;
        let user = store.people().by_name(&name).cloned().expect("just registered");
        store.approve(Actor(None), &user.public_id).await?;
        let mut person = Person { id: user.id, tokens: Vec::new() };
        let wanted = TOKENS.iter().find(|(place, _)| *place == number).map_or(0, |(_, count)| *count);
        for token in 0..wanted {
            let wish = Wish { name: format!("job {token} of {number}"), ..Wish::default() };
            person.tokens.push(tokens.create(Actor(None), &user.public_id, wish).await?.token.id);
        }
        team.push(person);
    }
    store.close();
    Ok(team)
}

/// The year as it is told, row by row.
struct History {
    team: Vec<Person>,
    dice: Dice,
    words: Words,
    now: f64,
    next_log_id: i64,
    /// How many requests there were.
    requests: usize,
    rows: Vec<Row>,
    parts: Vec<Part>,
}

impl History {
    fn new(team: Vec<Person>) -> Self {
        let (dice, words) = (Dice::new(SEED), Words::new());
        History { team, dice, words, now: 0.0, next_log_id: 1, requests: 0, rows: Vec::new(), parts: Vec::new() }
    }

    fn write(mut self, folder: &Path) -> anyhow::Result<(i64, usize)> {
        let mut connection = SqliteConnection::establish(&folder.join(FILE).to_string_lossy())?;
        // What was written of the making of accounts would stand before the year, with the time of today.
        connection.batch_execute(&format!(
            "PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; DELETE FROM record; DELETE FROM record_part; \
             DELETE FROM sqlite_sequence WHERE name = 'record'; UPDATE users SET created_at_us = {BEGIN_US};"
        ))?;
        let mut pipeline_left = PIPELINE_ROWS;
        let mut parts = 0;
        while self.next_log_id <= ROWS {
            connection.transaction(|connection| {
                for _ in 0..BATCH {
                    let left = ROWS + 1 - self.next_log_id;
                    if left == 0 {
                        break;
                    }
                    let before = self.next_log_id;
                    let is_pipeline = self.dice.chance(pipeline_left as f64 / left as f64);
                    let mine = if is_pipeline { pipeline_left } else { left - pipeline_left };
                    self.event(is_pipeline, mine);
                    pipeline_left -= if is_pipeline { self.next_log_id - before } else { 0 };
                }
                for rows in self.rows.chunks(1_000) {
                    diesel::insert_into(record::table).values(rows).execute(connection)?;
                }
                for some in self.parts.chunks(1_000) {
                    diesel::insert_into(record_part::table).values(some).execute(connection)?;
                }
                QueryResult::Ok(())
            })?;
            parts += self.parts.len();
            self.rows.clear();
            self.parts.clear();
        }
        connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok((self.next_log_id - 1, parts))
    }

    /// One thing that happened: a request with its result, a refusal, or an act. It has `rows` rows at most.
    fn event(&mut self, is_pipeline: bool, rows: i64) {
        self.now += self.dice.exponential(YEAR_US / ROWS as f64 * 1.7);
        let place = if is_pipeline { 0 } else { self.somebody() };
        let (user_id, tokens) = (self.team[place].id, self.team[place].tokens.len());
        let token_id = (tokens > 0 && self.dice.chance(0.8)).then(|| self.dice.below(tokens));
        let token_id = token_id.map(|at| self.team[place].tokens[at]);
        let credential = if token_id.is_some() { "token" } else { "jwt" };
        let row = Row {
            at_us: self.at(),
            request_id: self.request_id(),
            user_id: Some(user_id),
            token_id,
            credential: Some(credential),
            api: Some(APIS[self.dice.weighted(&APIS.map(|(_, weight)| weight))].0),
            model_asked: Some(MODELS[self.dice.weighted(&MODELS.map(|(_, weight)| weight))].0),
            ..Row::default()
        };
        match self.dice.unit() {
            kind if kind < 0.06 && !is_pipeline => self.act(row),
            kind if kind < 0.16 || rows < 2 => self.refusal(row),
            _ => self.request(row),
        }
    }

    /// The first ask the most, the last hardly ever.
    fn somebody(&mut self) -> usize {
        let weights: Vec<f64> = (1..PEOPLE).map(|rank| 1.0 / rank as f64).collect();
        1 + self.dice.weighted(&weights)
    }

    fn at(&self) -> i64 {
        BEGIN_US + self.now as i64
    }

    fn request_id(&mut self) -> Vec<u8> {
        let millis = (self.at() / 1000) as u64;
        uuid::Builder::from_unix_timestamp_millis(millis, &self.dice.bytes()).into_uuid().into_bytes().to_vec()
    }

    fn push(&mut self, row: Row) -> i64 {
        let log_id = self.next_log_id;
        self.next_log_id += 1;
        self.rows.push(Row { log_id, ..row });
        log_id
    }

    fn contents(&mut self, log_id: i64, from: i64, contents: Vec<(&'static str, Vec<u8>)>) {
        let numbered = contents.into_iter().zip(from..);
        self.parts.extend(numbered.map(|((kind, body), part)| Part { log_id, part, kind, encoding: 0, body }));
    }

    fn act(&mut self, row: Row) {
        let act = ACTS[self.dice.below(ACTS.len())];
        let subject_id = row.user_id;
        let (at_us, request_id) = (row.at_us, row.request_id);
        let row =
            Row { kind: "act", at_us, request_id, user_id: Some(1), subject_id, act: Some(act), ..Row::default() };
        let detail = json!({ "log_id": self.next_log_id / 2 }).to_string().into_bytes();
        let commitment = Some(commitment_to(&SALT_OF_ACTS, Committed::Detail, &detail).to_vec());
        let log_id = self.push(Row { commitment, ..row });
        self.contents(log_id, 0, vec![("detail", detail)]);
    }

    fn refusal(&mut self, row: Row) {
        let (reason, status) = REASONS[self.dice.below(REASONS.len())];
        let repeat = 1 + self.dice.exponential(2.0) as i64;
        let until_us = (repeat > 1).then_some(row.at_us);
        let outcome = Some("refused");
        let (reason, status, repeat) = (Some(reason), Some(status), Some(repeat));
        self.push(Row { kind: "refusal", outcome, reason, status, repeat, until_us, ..row });
    }

    fn request(&mut self, row: Row) {
        self.requests += 1;
        let salt = self.dice.bytes::<32>();
        let prompt_words = (self.dice.around(25.0, 0.9) as usize).clamp(1, 4_000);
        let body = self.body(&row, prompt_words);
        let intent = Row {
            kind: "intent",
            provider: Some("ollama"),
            attempt: Some(1),
            commitment: Some(commitment_to(&salt, Committed::Request, &body).to_vec()),
            ..row
        };
        let address = format!("192.168.1.{}", 10 + intent.user_id.unwrap_or(0));
        let log_id = self.push(intent.clone());
        let mut before = vec![("request", body), ("origin", [&salt[..], address.as_bytes()].concat())];
        if self.dice.chance(0.1) {
            before.push(("notes", b"ignored: user".to_vec()));
        }
        let next = before.len() as i64;
        let mut covered = before[1..].to_vec();
        self.contents(log_id, 0, before);

        let (outcome, reason, status, _) = OUTCOMES[self.dice.weighted(&OUTCOMES.map(|(.., weight)| weight))];
        let answered = reason.is_none();
        let words = if answered { self.dice.around(60.0, 0.8) as usize + 1 } else { 0 };
        let (answer, calls) = self.answer(&intent, words);
        // As segments of 16 KiB, or of a quarter of a second, bring it.
        let mut after: Vec<_> = answer.chunks(600).map(|segment| ("answer", segment.to_vec())).collect();
        if !calls.is_empty() {
            after.push(("tool_calls", calls));
        }
        covered.extend_from_slice(&after);
        let commitment = commitment_of_result(covered.iter().map(|(kind, body)| (*kind, body.as_slice())));
        let queued = self.dice.exponential(400_000.0);
        let gpu = 150_000.0 + 25_000.0 * words as f64;
        let result = Row {
            kind: "result",
            intent_id: Some(log_id),
            host: Some("local"),
            model_served: intent.model_asked.filter(|_| outcome == "completed"),
            outcome: Some(outcome),
            reason,
            status: Some(status).filter(|status| *status > 0),
            prompt_tokens: answered.then_some((prompt_words as f64 * 1.3) as i64 + 8),
            answer_tokens: answered.then_some((words as f64 * 1.3) as i64),
            queued_us: Some(queued as i64),
            first_token_us: answered.then_some((queued + 150_000.0) as i64),
            total_us: Some((queued + gpu + 2_000.0) as i64),
            gpu_us: answered.then_some(gpu as i64),
            commitment: commitment.map(|commitment| commitment.to_vec()),
            ..intent
        };
        self.now += queued + gpu + 2_000.0;
        self.push(Row { at_us: self.at(), ..result });
        self.contents(log_id, next, after);
    }

    /// What was forwarded, in the form in which the gateway forwards it.
    fn body(&mut self, row: &Row, words: usize) -> Vec<u8> {
        let mut asked = self.words.text(&mut self.dice, words);
        for (text, of) in [RARE, PHRASE] {
            if self.requests % of == of / 2 {
                asked = format!("{asked} What about the {text}?");
            }
        }
        let model = row.model_asked;
        let request: Value = match row.api {
            Some("/v1/completions") => json!({ "model": model, "prompt": asked, "stream": true, "truncate": false }),
            Some("/v1/embeddings") => json!({ "model": model, "input": [asked], "truncate": false }),
            _ => {
                let mut messages = vec![json!({ "role": "system", "content": "You are a helpful assistant." })];
                for _ in 0..if self.dice.chance(0.3) { 1 + self.dice.below(3) } else { 0 } {
                    let question = self.words.text(&mut self.dice, words / 2 + 1);
                    messages.push(json!({ "role": "user", "content": question }));
                    let answer = self.words.text(&mut self.dice, 40);
                    messages.push(json!({ "role": "assistant", "content": answer }));
                }
                messages.push(json!({ "role": "user", "content": asked }));
                json!({ "model": model, "messages": messages, "stream": true, "options": { "num_predict": 8192 },
                    "truncate": false })
            }
        };
        request.to_string().into_bytes()
    }

    /// What came back, and what it called.
    fn answer(&mut self, intent: &Row, words: usize) -> (Vec<u8>, Vec<u8>) {
        if words == 0 {
            return (Vec::new(), Vec::new());
        }
        if intent.api == Some("/v1/embeddings") {
            let digest = uuid::Uuid::from_bytes(self.dice.bytes()).simple().to_string().repeat(2);
            let summary = json!({ "embeddings": 1, "dimensions": 768, "sha256": digest });
            return (summary.to_string().into_bytes(), Vec::new());
        }
        let text = self.words.text(&mut self.dice, words).into_bytes();
        let calls = if self.dice.chance(0.02) {
            json!([{ "id": "call_1", "name": "look_up", "arguments": "{\"page\":1}" }]).to_string().into_bytes()
        } else {
            Vec::new()
        };
        (text, calls)
    }
}
