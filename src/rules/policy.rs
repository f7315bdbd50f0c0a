//! Request policy: which requests are allowed, and how far their answers are shortened.

use crate::auth::Identity;
use crate::base::error::Error;
use crate::config::settings::{Live, Settings};
use crate::model::catalog::{ModelCard, Skills};
use crate::model::chat::ChatRequest;
use crate::model::model_name::ModelName;
use crate::model::provider_kind::ProviderKind;
use crate::model::rights::quotas::Quotas;
use crate::model::work::Work;
use crate::provider;

mod picture;

pub struct Policy {
    settings: Live,
    /// The kinds of the configured upstreams.
    kinds: Vec<ProviderKind>,
}

/// A request that may be forwarded, and what was changed in it.
#[derive(Debug)]
pub struct Allowed {
    pub work: Work,
    pub notes: Vec<String>,
    /// Estimated model tokens of the prompt.
    pub prompt_tokens: u64,
}

impl Allowed {
    /// Returns the limit of the answer in model tokens; 0 where none are generated.
    pub fn answer_tokens(&mut self) -> u64 {
        self.work.max_tokens().and_then(|most| *most).map_or(0, u64::from)
    }

    /// Lowers the limit of the answer to `tokens`.
    pub fn shorten_answer(&mut self, tokens: u64, why: &str) {
        if let Some(most) = self.work.max_tokens() {
            *most = Some(u32::try_from(tokens).unwrap_or(u32::MAX));
            self.notes.push(format!("clamped max_tokens to {tokens}: {why}"));
        }
    }
}

impl Policy {
    pub fn new(settings: Live, kinds: Vec<ProviderKind>) -> Self {
        let mut once = Vec::new();
        for kind in kinds {
            if !once.contains(&kind) {
                once.push(kind);
            }
        }
        Policy { settings, kinds: once }
    }

    /// Checks that the caller may use a model. One that they may not use is reported as missing.
    pub fn check_model(&self, who: &Identity, model: &ModelName) -> Result<(), Error> {
        if who.may_name(model, &|one, other| self.is_same(one, other)) {
            return Ok(());
        }
        Err(Error::ModelNotFound { model: model.as_str().to_owned() })
    }

    /// Returns the models that `who` may see.
    pub fn visible(&self, who: &Identity, mut models: Vec<ModelCard>) -> Vec<ModelCard> {
        models.retain(|card| who.may_name(&card.name, &|one, other| self.is_same(one, other)));
        models
    }

    /// Checks how many answers one request asks for.
    pub fn check_choices(&self, choices: u8) -> Result<(), Error> {
        let most = self.settings.now().choices_max;
        if u32::from(choices) <= most {
            return Ok(());
        }
        let message = match most {
            1 => "`n` must be 1: one request gets one answer here; send several requests instead".to_owned(),
            _ => format!("`n` is {choices}; one request gets at most {most} answers here"),
        };
        Err(Error::unsupported("n", message))
    }

    /// Drops a hint that the model can't follow and returns its name. An image is refused instead: an upstream whose model
    /// can't see would ignore it silently, and the model would make something up.
    pub fn fit_to_skills(&self, work: &mut Work, skills: Skills) -> Result<Option<&'static str>, Error> {
        if let Some(image) = work.first_image().filter(|_| !skills.sees) {
            let message = format!("`{image}` is an image, and model `{}` sees none; ask one that does", work.model());
            return Err(Error::unsupported(image.to_owned(), message));
        }
        let wish = work.optional_thinking().filter(|_| !skills.thinks);
        if wish.is_some() {
            work.leave_out_thinking();
        }
        Ok(wish)
    }

    /// Returns whether two names mean one model. The upstream is not chosen yet, so it is enough if one kind says so.
    pub fn is_same(&self, one: &ModelName, other: &ModelName) -> bool {
        provider::is_same(&self.kinds, one, other)
    }

    /// Refuses a model whose name says that some upstream would forward its prompts to other servers.
    pub fn check_stays_here(&self, model: &ModelName) -> Result<(), Error> {
        check_stays_here(&self.kinds, model)
    }

    pub fn check(&self, who: &Identity, work: Work) -> Result<Allowed, Error> {
        check_stays_here(&self.kinds, work.model())?;
        let settings = self.settings.now();
        let own = who.user().quotas.or(settings.quotas());
        let quotas = who.token().map_or(own, |token| own.tightest(token.quotas));
        cut_to_size(work, &settings, &quotas)
    }
}

/// Refuses a model whose name says that some upstream would forward its prompts to other servers.
fn check_stays_here(kinds: &[ProviderKind], model: &ModelName) -> Result<(), Error> {
    if kinds.iter().any(|kind| provider::of(*kind).passes_on(model)) {
        let message = format!("model `{model}` would send the prompt off this host, which is not allowed here");
        return Err(Error::forbidden(message));
    }
    Ok(())
}

fn cut_to_size(mut work: Work, settings: &Settings, quotas: &Quotas) -> Result<Allowed, Error> {
    let prompt_bytes = work.prompt_bytes();
    check_prompt(&work, prompt_bytes, settings)?;
    if let Work::Chat(chat) = &work {
        check_images(chat, settings)?;
    }
    let room = room_for_answer(&mut work, prompt_bytes, quotas)?;
    let mut notes = Vec::new();
    // A limit is always sent: a small model asked to count to ten may otherwise never stop.
    let most = quotas.answer_tokens_max.map_or(settings.answer_tokens_max, clipped).min(clipped(room));
    if let Some(max_tokens) = work.max_tokens() {
        let asked = max_tokens.unwrap_or(most);
        if asked > most {
            notes.push(format!("clamped max_tokens from {asked} to {most}"));
        }
        *max_tokens = Some(asked.min(most));
    }
    let prompt_tokens = work.guess_prompt_tokens(prompt_bytes);
    Ok(Allowed { work, notes, prompt_tokens })
}

fn clipped(tokens: u64) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// Returns how many tokens an answer may have beside its prompt within the limits per request, so that no request is admitted
/// that could never be served. An error when there is no room for a single one.
fn room_for_answer(work: &mut Work, prompt_bytes: usize, quotas: &Quotas) -> Result<u64, Error> {
    let least = u64::from(work.max_tokens().is_some());
    let prompt = work.guess_prompt_tokens(prompt_bytes);
    let mut room = u64::MAX;
    for (name, limit, prompt) in [
        ("context_tokens_max", quotas.context_tokens_max, work.guess_context_tokens(prompt_bytes)),
        ("tokens_per_minute", quotas.tokens_per_minute, prompt),
        ("tokens_per_day", quotas.tokens_per_day, prompt),
    ] {
        let Some(limit) = limit else { continue };
        let Some(beside) = limit.checked_sub(prompt).filter(|beside| *beside >= least) else {
            let message =
                format!("it has about {prompt} tokens and does not fit your quota `{name}` of {limit}; send less");
            return Err(Error::ContextTooLong { field: work.prompt_field(), message });
        };
        room = room.min(beside);
    }
    Ok(room)
}

fn check_prompt(work: &Work, bytes: usize, settings: &Settings) -> Result<(), Error> {
    let limit = settings.prompt_bytes_max;
    if bytes > limit {
        return Err(Error::TooLarge { field: Some(work.prompt_field()), limit });
    }
    Ok(())
}

fn check_images(request: &ChatRequest, settings: &Settings) -> Result<(), Error> {
    let images = request.messages.iter().flat_map(|message| message.images());
    for (number, image) in images.enumerate() {
        let field = &image.field;
        let most = settings.images_per_request_max;
        if number >= most {
            let message = format!("`{field}` is one image too many; at most {most} may be sent");
            return Err(Error::invalid(field, message));
        }
        let (bytes, most) = (image.bytes.len(), settings.image_bytes_max);
        if bytes > most {
            let message = format!("`{field}` has {bytes} bytes; an image may have at most {most}");
            return Err(Error::invalid(field, message));
        }
        picture::check(&image.bytes).map_err(|why| Error::invalid(field, format!("`{field}` {why}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chat::{Image, Message, Part, Role, Tool};

    fn request(model: &str, max_tokens: Option<u32>, images: &[usize]) -> Work {
        let mut message = Message::new(Role::User, "hello");
        let image = |(number, bytes): (usize, &usize)| {
            Part::Image(Image {
                bytes: pixel_of(*bytes).into(),
                field: format!("messages[0].content[{number}].image_url"),
            })
        };
        message.parts.extend(images.iter().enumerate().map(image));
        Work::Chat(ChatRequest { max_tokens, ..ChatRequest::new(ModelName::parse(model).unwrap(), vec![message]) })
    }

    /// Returns the head of an image of one pixel, followed by anything.
    fn pixel_of(bytes: usize) -> Vec<u8> {
        let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01".to_vec();
        image.resize(bytes, 0);
        image
    }

    fn check(work: Work) -> Result<Allowed, Error> {
        check_within(Quotas::default(), work)
    }

    fn check_within(quotas: Quotas, work: Work) -> Result<Allowed, Error> {
        cut_to_size(work, &Settings::default(), &quotas)
    }

    #[test]
    fn an_answer_always_has_a_limit_and_a_larger_one_is_cut() {
        let check = |tokens| check(request("m", tokens, &[])).unwrap();

        assert_eq!(*check(None).work.max_tokens().unwrap(), Some(8192));
        assert_eq!(check(Some(8192)).notes.len(), 0);
        let mut cut = check(Some(8193));
        assert_eq!(*cut.work.max_tokens().unwrap(), Some(8192));
        assert_eq!(cut.notes, ["clamped max_tokens from 8193 to 8192"]);
    }

    #[test]
    fn one_image_of_five_megabytes_passes_and_no_more() {
        let most = 5 * 1024 * 1024;

        assert!(check(request("m", None, &[most])).is_ok());
        assert_eq!(
            check(request("m", None, &[most + 1])).unwrap_err().field(),
            Some("messages[0].content[0].image_url")
        );
        assert_eq!(check(request("m", None, &[24, 24])).unwrap_err().field(), Some("messages[0].content[1].image_url"));
    }

    #[test]
    fn a_prompt_is_so_long_with_all_its_messages_and_tools_and_no_longer() {
        let Work::Chat(mut prompt) = request("m", None, &[100]) else { panic!("no chat") };
        prompt.messages = vec![Message::new(Role::System, "12345"), Message::new(Role::User, "äöü")];
        prompt.tools = vec![Tool { name: "add".into(), description: Some("adds".into()), parameters: None }];
        let prompt = Work::Chat(prompt);
        let check = |most| {
            let settings = Settings::default().with([("prompt_bytes_max", most)]);
            check_prompt(&prompt, prompt.prompt_bytes(), &settings)
        };

        assert!(check(18).is_ok());
        let refused = check(17).unwrap_err();
        assert_eq!((refused.code(), refused.field()), ("request_too_large", Some("messages")));
    }

    #[test]
    fn a_quota_of_the_answer_stands_instead_of_the_gateways() {
        let answer = |most, asked| {
            let quotas = Quotas { answer_tokens_max: Some(most), ..Quotas::default() };
            let mut allowed = check_within(quotas, request("m", asked, &[])).unwrap();
            (allowed.answer_tokens(), allowed.notes.len())
        };

        assert_eq!(answer(100, None), (100, 0));
        assert_eq!(answer(100, Some(100)), (100, 0));
        assert_eq!(answer(100, Some(101)), (100, 1));
        assert_eq!(answer(20_000, Some(20_000)), (20_000, 0), "more than others may");
    }

    #[test]
    fn prompt_and_answer_together_fit_what_may_be_used_at_once() {
        // The prompt "hello" has about two tokens.
        let quota = |name: &str, tokens| match name {
            "context_tokens_max" => Quotas { context_tokens_max: Some(tokens), ..Quotas::default() },
            "tokens_per_minute" => Quotas { tokens_per_minute: Some(tokens), ..Quotas::default() },
            _ => Quotas { tokens_per_day: Some(tokens), ..Quotas::default() },
        };
        for name in ["context_tokens_max", "tokens_per_minute", "tokens_per_day"] {
            let mut fits = check_within(quota(name, 3), request("m", Some(50), &[])).unwrap();
            assert_eq!((fits.prompt_tokens, fits.answer_tokens()), (2, 1), "{name}");
            assert_eq!(fits.notes, ["clamped max_tokens from 50 to 1"]);

            let refused = check_within(quota(name, 2), request("m", Some(50), &[])).unwrap_err();
            assert_eq!((refused.code(), refused.field()), ("context_length_exceeded", Some("messages")), "{name}");
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }

    #[test]
    fn names_that_leave_the_host_are_refused() {
        let check = |kinds, name| check_stays_here(kinds, &ModelName::parse(name).unwrap());

        assert_eq!(check(&[ProviderKind::Ollama], "x:cloud").unwrap_err().code(), "permission_denied");
        assert!(check(&[ProviderKind::Ollama], "x:latest").is_ok());
        assert!(check(&[], "x:cloud").is_ok());
    }
}
