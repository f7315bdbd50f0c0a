//! Generated answers, and the head of a request that asks for one.
#![allow(dead_code, reason = "each test binary uses its own part")]

use lan_gateway::base::clock::{Timestamp, UpstreamTime};
use lan_gateway::base::ids::RequestId;
use lan_gateway::dialect::Head;
use lan_gateway::model::chat::{ChatEvent, End, Finish, Piece, Timings, TokenLogprob, ToolCall, Usage};
use proptest::prelude::*;
use serde_json::value::RawValue;
use uuid::Uuid;

pub struct Post {
    pub path: &'static str,
}

pub fn request_id() -> RequestId {
    RequestId(Uuid::from_u128(0x0190_1234_5678_7abc_8def_0123_4567_89ab))
}

impl Head for Post {
    fn path(&self) -> &str {
        self.path
    }

    fn header(&self, _: &str) -> Option<&str> {
        None
    }

    fn request_id(&self) -> RequestId {
        request_id()
    }

    fn received_at(&self) -> Timestamp {
        Timestamp(1_795_480_000_123_456)
    }

    fn default_model(&self) -> &str {
        "llama3.2:latest"
    }
}

/// An object as a model could write it: names in any case, empty, more than once, and numbers in any spelling.
fn any_arguments() -> impl Strategy<Value = Box<RawValue>> {
    const NAMES: &[&str] = &["a", "A", "", "\u{212a}", "k", "arguments", "Name"];
    let name = || prop_oneof![prop::sample::select(NAMES).prop_map(str::to_owned), ".{0,3}"];
    // Not what is escaped on the way to clients: its spelling would change, as nothing else does.
    let quoted = |text: String| serde_json::to_string(&text.replace(['\u{85}', '\u{2028}', '\u{2029}'], "")).unwrap();
    let object = move |fields: Vec<(String, String)>| {
        let fields = fields.into_iter().map(|(name, value)| format!("{}:{value}", quoted(name)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    let number = prop::sample::select(&["0", "-0.0", "1E5", "1e-400", "12345678901234567890123", "0.10"][..]);
    let leaf = prop_oneof![
        prop::sample::select(&["null", "true", "false"][..]).prop_map(str::to_owned),
        number.prop_map(str::to_owned),
        ".{0,6}".prop_map(quoted),
    ];
    let value = leaf.prop_recursive(4, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name(), inner), 0..3).prop_map(object),
        ]
    });
    prop::collection::vec((name(), value), 0..3).prop_map(move |fields| RawValue::from_string(object(fields)).unwrap())
}

/// Events as an upstream could send them: whole pieces, none of them empty, and one end.
pub fn any_events() -> impl Strategy<Value = Vec<ChatEvent>> {
    let text = "[a-zé🙂\"\\\\\n\u{2028}<&\u{0}]{1,12}";
    let piece = prop_oneof![
        4 => text.prop_map(Piece::Text),
        2 => text.prop_map(Piece::Reasoning),
        1 => ("[a-z0-9]{1,8}", "[a-z_]{1,8}", any_arguments())
            .prop_map(|(id, name, arguments)| Piece::ToolCall(ToolCall { id, name, arguments })),
    ];
    let counts = any::<[u32; 6]>();
    (prop::collection::vec(piece, 0..8), any::<bool>(), counts, 0..4_000_000_000_000_000_000_i128).prop_map(
        |(mut pieces, cut, [a, b, c, d, e, f], start)| {
            let called = pieces.iter().any(|piece| matches!(piece, Piece::ToolCall(_)));
            // Ids are unique in an answer; a decoder that sees one twice makes up another.
            for (number, piece) in pieces.iter_mut().enumerate() {
                if let Piece::ToolCall(call) = piece {
                    call.id.push_str(&format!("-{number}"));
                }
            }
            let finish = if cut {
                Finish::Length
            } else if called {
                Finish::ToolCalls
            } else {
                Finish::Stop
            };
            let usage = Usage { prompt_tokens: a.into(), answer_tokens: b.into() };
            let timings = Timings { total_ns: c.into(), load_ns: d.into(), prompt_ns: e.into(), answer_ns: f.into() };
            pieces.push(Piece::End(End { finish, usage, timings }));
            let at = |number: usize| UpstreamTime::from_nanoseconds(start + number as i128).unwrap();
            pieces.into_iter().enumerate().map(|(number, what)| ChatEvent { at: at(number), what }).collect()
        },
    )
}

/// The same, with probabilities before some of the texts.
pub fn any_events_with_logprobs() -> impl Strategy<Value = Vec<ChatEvent>> {
    let token = || {
        ("[a-zé]{1,3}", -20.0..0.0_f64).prop_map(|(token, logprob)| TokenLogprob {
            bytes: token.as_bytes().to_vec(),
            token,
            logprob,
            top: Vec::new(),
        })
    };
    let tokens = prop::collection::vec((token(), prop::collection::vec(token(), 0..3)), 1..3)
        .prop_map(|tokens| tokens.into_iter().map(|(token, top)| TokenLogprob { top, ..token }).collect::<Vec<_>>());
    (any_events(), prop::collection::vec(prop::option::of(tokens), 9)).prop_map(|(events, tokens)| {
        let with_tokens = |(event, tokens): (ChatEvent, Option<Vec<TokenLogprob>>)| {
            let tokens = tokens.filter(|_| matches!(event.what, Piece::Text(_)));
            let before = tokens.map(|tokens| ChatEvent { at: event.at, what: Piece::Logprobs(tokens) });
            before.into_iter().chain([event])
        };
        events.into_iter().zip(tokens).flat_map(with_tokens).collect()
    })
}
