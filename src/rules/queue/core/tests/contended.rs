//! Fair where not every request can use every slot: several upstreams, slots of a model, image permits, late joiners.

use super::*;

/// A person who keeps so many requests outstanding: whenever one is answered, they send the next.
#[derive(Debug, Clone)]
struct Asker {
    asking: SlotRequest,
    outstanding: usize,
    work: f64,
    from: f64,
}

/// Askers before some upstreams, and what each has had.
struct Scene {
    house: House,
    askers: Vec<Asker>,
    /// The asker of each ticket.
    by: HashMap<Ticket, usize>,
    joined: Vec<bool>,
    had: Vec<f64>,
    longest_wait: Vec<f64>,
}

const A: i64 = 1;
const B: i64 = 2;
const CARL: i64 = 3;
const DORA: i64 = 4;

fn on(upstream: usize, person: i64) -> SlotRequest {
    SlotRequest { upstreams: vec![UpstreamId(upstream)], model: format!("of upstream {upstream}"), ..asking(person) }
}

fn keeps(outstanding: usize, asking: SlotRequest) -> Asker {
    Asker { asking, outstanding, work: 0.25, from: 0.0 }
}

impl Scene {
    fn given(upstreams: &[Slots], bounds: QueueBounds, askers: Vec<Asker>) -> Self {
        let count = askers.len();
        Scene {
            house: House::new(upstreams, bounds),
            askers,
            by: HashMap::new(),
            joined: vec![false; count],
            had: vec![0.0; count],
            longest_wait: vec![0.0; count],
        }
    }

    fn send(&mut self, asker: usize) {
        let Asker { asking, work, .. } = self.askers[asker].clone();
        let ticket = self.house.enter(asking, work);
        self.by.insert(ticket, asker);
    }

    /// Lets time go on until `end`, or until `look` says that something is wrong.
    fn run_until(&mut self, end: f64, mut look: impl FnMut(&Scene) -> Result<(), String>) -> Result<(), String> {
        loop {
            let joins = (0..self.askers.len()).filter(|asker| !self.joined[*asker]);
            let next = joins.min_by(|one, other| self.askers[*one].from.total_cmp(&self.askers[*other].from));
            let next_end = self.house.next_end().unwrap_or(f64::INFINITY);
            match next {
                Some(asker) if self.askers[asker].from <= next_end.min(end) => {
                    self.house.now = self.house.now.max(self.askers[asker].from);
                    self.joined[asker] = true;
                    for _ in 0..self.askers[asker].outstanding {
                        self.send(asker);
                    }
                }
                _ if next_end <= end => {
                    let ticket = self.house.end_next().ticket;
                    let asker = self.by[&ticket];
                    self.had[asker] += self.askers[asker].work;
                    self.longest_wait[asker] = self.longest_wait[asker].max(self.house.waited(ticket));
                    self.send(asker);
                }
                _ => break,
            }
            look(self)?;
        }
        self.house.now = end;
        Ok(())
    }

    /// The seconds of GPU time that each asker gets in the stretch until `end`.
    fn get_until(&mut self, end: f64) -> Vec<f64> {
        let before = self.had.clone();
        self.run_until(end, |_| Ok(())).unwrap();
        self.had.iter().zip(before).map(|(had, before)| had - before).collect()
    }
}

/// Ann and Bob crowd something, Carl keeps something else busy; Dora comes after five seconds and sends one at a time.
fn dora_comes_to_a_crowd(upstreams: &[Slots], crowded: impl Fn(i64) -> SlotRequest, other: SlotRequest) -> f64 {
    let crowd = [A, B].map(|person| keeps(8, crowded(person)));
    let dora = Asker { from: 5.0, ..keeps(1, crowded(DORA)) };
    let [ann, bob] = crowd;
    let mut scene = Scene::given(upstreams, bounds(), vec![ann, bob, keeps(2, other), dora]);
    scene.get_until(5.0);
    scene.get_until(65.0)[3]
}

#[test]
fn a_newcomer_to_a_crowded_upstream_has_its_part_though_another_upstream_is_idle_enough_for_somebody() {
    let had = dora_comes_to_a_crowd(&[slots(1), slots(1)], |person| on(0, person), on(1, CARL));

    assert!((19.0..=21.0).contains(&had), "a third of 60 s, not {had}");
}

#[test]
fn a_newcomer_to_a_crowded_model_has_its_part_though_another_model_has_slots() {
    let one_per_model = Slots { total: 2, per_model: 1, models_loaded: 2 };
    let of = |person, model: &str| SlotRequest { model: model.into(), ..asking(person) };

    let had = dora_comes_to_a_crowd(&[one_per_model], |person| of(person, "a"), of(CARL, "b"));

    assert!((19.0..=21.0).contains(&had), "a third of 60 s, not {had}");
}

#[test]
fn a_newcomer_with_images_has_its_part_though_texts_pass() {
    let image = |person| SlotRequest { images: true, ..asking(person) };

    let had = dora_comes_to_a_crowd(&[slots(2)], image, asking(CARL));

    assert!((15.0..=21.0).contains(&had), "a quarter of 60 s, since Carl could use that slot, too, and not {had}");
}

#[test]
fn whoever_was_served_alone_elsewhere_has_its_part_at_once() {
    let late = Asker { from: 600.0, ..keeps(1, on(0, CARL)) };
    let askers = vec![keeps(4, on(0, A)), keeps(4, on(0, B)), keeps(2, on(1, CARL)), late];
    let mut scene = Scene::given(&[slots(1), slots(1)], bounds(), askers);

    scene.get_until(600.0);
    let had = scene.get_until(660.0);

    assert!((19.0..=21.0).contains(&had[3]), "a third of 60 s: {had:?}");
    assert!(had[2] >= 59.0, "and the other upstream all the time: {had:?}");
}

#[test]
fn a_request_that_is_kept_outstanding_on_an_idle_upstream_earns_nothing_on_a_crowded_one() {
    let flood = Asker { from: 600.0, ..keeps(8, on(0, B)) };
    let askers = vec![keeps(8, on(0, A)), keeps(1, on(1, B)), flood];
    let mut scene = Scene::given(&[slots(1), slots(1)], bounds(), askers);

    scene.get_until(600.0);
    let had = scene.get_until(620.0);

    assert!((9.0..=11.0).contains(&had[0]), "a half of 20 s: {had:?}");
}

#[test]
fn a_batch_answer_that_ran_alone_is_not_held_against_batch() {
    let batch = |person| SlotRequest { class: Class::Batch, ..asking(person) };
    let later = |asker| Asker { from: 8.0, ..asker };
    let mut house = House::new(&[slots(1)], bounds());
    for _ in 0..3 {
        house.enter(asking(A), 0.25);
        house.end_next();
    }
    let mut scene = Scene::given(&[slots(1)], bounds(), vec![later(keeps(2, asking(A))), later(keeps(2, batch(B)))]);
    scene.house = house;
    scene.house.enter(batch(B), 9.0);
    scene.by.insert(3, 1);
    scene.askers[0].from = 9.5;

    scene.get_until(10.0);
    let had = scene.get_until(110.0);

    assert!((4.5..=6.0).contains(&had[1]), "5 % of 100 s: {had:?}");
}

#[test]
fn a_class_that_has_another_upstream_for_itself_has_no_more_and_no_less_where_both_wait() {
    let batch = |upstream, person| SlotRequest { class: Class::Batch, ..on(upstream, person) };
    for alone in [batch(1, B), batch(1, CARL), on(1, A), on(1, CARL)] {
        let askers = vec![keeps(2, on(0, A)), keeps(2, batch(0, B)), keeps(2, alone.clone())];
        let mut scene = Scene::given(&[slots(1), slots(1)], bounds(), askers);

        let had = scene.get_until(400.0);

        assert!((18.0..=24.0).contains(&had[1]), "5 % of 400 s beside {alone:?}: {had:?}");
    }
}

/// What Carl needs never comes free at one moment: an image permit that Ann uses, and a slot that Bob uses.
fn carl_needs_two_things(upstreams: &[Slots], ann: SlotRequest, bob: SlotRequest, carl: SlotRequest) -> f64 {
    let ann = Asker { work: 1.0, ..keeps(4, SlotRequest { images: true, ..ann }) };
    let bob = Asker { work: 0.7, from: 0.1, ..keeps(4, bob) };
    let carl = Asker { from: 1.5, ..keeps(1, SlotRequest { images: true, ..carl }) };
    let mut scene = Scene::given(upstreams, bounds(), vec![ann, bob, carl]);
    scene.get_until(200.0)[2]
}

#[test]
fn an_image_permit_is_kept_for_a_request_that_others_passed_again_and_again() {
    let two_upstreams = carl_needs_two_things(&[slots(1), slots(1)], on(0, A), on(1, B), on(1, CARL));
    let one_per_model = Slots { total: 2, per_model: 1, models_loaded: 2 };
    let of = |person, model: &str| SlotRequest { model: model.into(), ..asking(person) };
    let two_models = carl_needs_two_things(&[one_per_model], of(A, "a"), of(B, "b"), of(CARL, "b"));

    assert!(two_upstreams >= 2.0, "{two_upstreams} s of 200 s");
    assert!(two_models >= 2.0, "{two_models} s of 200 s");
}

/// Each time that upstream 1 comes free, Bob has just been served at upstream 0, and it is Ann's turn.
#[test]
fn a_request_that_younger_ones_pass_at_another_upstream_is_served() {
    let on_both = |person| SlotRequest {
        upstreams: vec![UpstreamId(0), UpstreamId(1)],
        model: format!("of {person}"),
        ..asking(person)
    };
    let everywhere = SlotRequest { upstreams: vec![UpstreamId(0), UpstreamId(1), UpstreamId(2)], ..on_both(A) };
    let younger = Asker { work: 0.7, ..keeps(2, on_both(B)) };
    let older = Asker { work: 1.3, ..keeps(1, on(1, B)) };
    let ann = Asker { work: 0.5, ..keeps(4, everywhere) };
    let mut scene = Scene::given(&[slots(1), slots(1), slots(2)], bounds(), vec![younger, older, ann]);

    scene.run_until(250.0, |_| Ok(())).unwrap();

    assert!(scene.longest_wait[1] <= 20.0 && scene.had[1] >= 13.0, "{:?} {:?}", scene.longest_wait, scene.had);
}

/// Random upstreams and askers, and what bounds their waits.
#[derive(Debug, Clone)]
struct World {
    upstreams: Vec<Slots>,
    bounds: QueueBounds,
    askers: Vec<Asker>,
}

fn worlds() -> impl Strategy<Value = World> {
    let upstream = (1..4usize, 1..4usize, 1..3usize).prop_map(|(total, per_model, models_loaded)| Slots {
        total,
        per_model: per_model.min(total),
        models_loaded,
    });
    let upstreams = prop::collection::vec(upstream, 1..4);
    let limits = (1..3usize, 1..50u32, 0..6u64, prop_oneof![Just(1024usize), 1..5usize]);
    let asker =
        (0..5i64, any::<bool>(), 0..3usize, 1..8usize, prop::bool::weighted(0.3), 1..6usize, 1..40u32, 0..60u32);
    let weights = prop::collection::vec(1..5u32, 5);
    let askers = prop::collection::vec(asker, 2..9);
    (upstreams, limits, weights, askers).prop_map(
        |(upstreams, (images, percent, affinity, running), weights, askers)| {
            let bounds = QueueBounds {
                image_requests_max: images,
                batch_share: f64::from(percent) / 100.0,
                affinity: Duration::from_secs(affinity),
                running_per_user_max: running,
                ..bounds()
            };
            let count = upstreams.len();
            let asker = |(person, batch, model, mask, images, outstanding, tenths, from): (
                i64,
                bool,
                usize,
                usize,
                _,
                _,
                u32,
                u32,
            )| {
                let mut upstreams: Vec<UpstreamId> =
                    (0..count).filter(|upstream| mask & (1 << upstream) != 0).map(UpstreamId).collect();
                if upstreams.is_empty() {
                    upstreams.push(UpstreamId(model % count));
                }
                let class = if batch { Class::Batch } else { Class::Interactive };
                let weight = weights[person as usize];
                let asking =
                    SlotRequest { person, weight, class, model: format!("m{model}"), upstreams, bytes: 0, images };
                Asker { asking, outstanding, work: f64::from(tenths) / 10.0, from: f64::from(from) }
            };
            let askers = askers.into_iter().map(asker).collect();
            World { upstreams, bounds, askers }
        },
    )
}

/// The letters of `share.rs`, for a world.
struct Letters {
    p_all: f64,
    n: f64,
    w: f64,
    s: f64,
    a: f64,
}

impl World {
    fn letters(&self) -> Letters {
        let flow = |one: &Asker| ((one.asking.class, one.asking.person), f64::from(one.asking.weight));
        let flows: BTreeMap<Key, f64> = self.askers.iter().map(flow).collect();
        Letters {
            p_all: flows.values().sum(),
            n: flows.len() as f64,
            // The first estimates are a guess of five seconds.
            w: self.askers.iter().map(|asker| asker.work).fold(5.0, f64::max),
            s: self.upstreams.iter().map(|upstream| upstream.total).sum::<usize>() as f64,
            a: self.bounds.affinity.as_secs_f64(),
        }
    }
}

impl Letters {
    fn owed_max(&self, p: f64) -> f64 {
        p * (self.a + 8.0 * self.w)
    }

    fn debt_max(&self, p: f64) -> f64 {
        p * (self.a + (8.0 + 3.0 * self.s) * self.w)
    }

    fn passed_max(&self, p: f64, share: f64, own: f64, older: usize) -> f64 {
        let account = self.owed_max(p) + self.debt_max(p) + 3.0 * self.s * self.w + own;
        self.p_all / (share * p) * account + (older + 1) as f64 * self.n * self.w
    }
}

/// Runs a world, and tells what breaks the bounds of `share.rs`: what a flow is owed, what it owes, and how much work passes a
/// request that waits.
fn beyond_the_bounds(world: &World) -> Result<(), String> {
    let letters = world.letters();
    let mut scene = Scene::given(&world.upstreams, world.bounds, world.askers.clone());
    scene.house.watched = Some(HashMap::new());
    scene.run_until(150.0, |scene| {
        for (key, flow) in &scene.house.core.flows {
            let (owed, p) = (flow.account.owed(), flow.account.weight);
            if owed > letters.owed_max(p) + 1e-6 || owed < -letters.debt_max(p) - 1e-6 {
                return Err(format!("{key:?} is owed {owed}"));
            }
        }
        for (ticket, Watched { passed, own, older }) in scene.house.watched.iter().flatten() {
            let asking = &scene.house.entered[ticket].asking;
            let share = match asking.class {
                Class::Interactive => 1.0 - world.bounds.batch_share,
                Class::Batch => world.bounds.batch_share,
            };
            let bound = letters.passed_max(f64::from(asking.weight), share, *own, *older);
            if *passed > bound {
                return Err(format!("{asking:?} was passed by {passed} s of {bound}"));
            }
        }
        Ok(())
    })
}

/// A person with small requests comes anew while each request of another runs, and each time has a part of it.
#[test]
fn what_newcomers_take_of_running_requests_does_not_add_up() {
    let asks = |person, class, images, upstreams: &[usize], outstanding, work| Asker {
        asking: SlotRequest {
            person,
            weight: 1,
            class,
            model: "m0".into(),
            upstreams: upstreams.iter().copied().map(UpstreamId).collect(),
            bytes: 0,
            images,
        },
        outstanding,
        work,
        from: 0.0,
    };
    let world = World {
        upstreams: vec![slots(1), slots(3), slots(2)],
        bounds: QueueBounds { batch_share: 0.01, ..bounds() },
        askers: vec![
            asks(0, Class::Interactive, true, &[1], 1, 0.2),
            asks(0, Class::Batch, false, &[1, 2], 5, 1.2),
            asks(1, Class::Batch, false, &[1, 2], 1, 0.1),
        ],
    };

    assert_eq!(beyond_the_bounds(&world), Ok(()));
}

proptest! {
    #[test]
    fn nobody_is_owed_owes_or_is_passed_more_than_is_proved(world in worlds()) {
        let looked = beyond_the_bounds(&world);

        prop_assert!(looked.is_ok(), "{looked:?}");
    }

    /// Far within the bound: a request is served before all who compete have had a few turns. A request that can
    /// run nowhere but beside its own person's others is not counted.
    #[test]
    fn nobody_waits_longer_than_a_few_turns_of_everybody(world in worlds()) {
        let letters = world.letters();
        let world = World { bounds: QueueBounds { running_per_user_max: 1024, ..world.bounds }, ..world };
        let mut scene = Scene::given(&world.upstreams, world.bounds, world.askers.clone());
        let longest = world.askers.iter().map(|asker| asker.work).fold(0.0, f64::max);
        let outstanding: usize = world.askers.iter().map(|asker| asker.outstanding).sum();
        scene.run_until(400.0, |_| Ok(())).unwrap();
        for (ticket, Entered { asking, at: entered, .. }) in &scene.house.entered {
            let until = scene.house.begun.get(ticket).copied().unwrap_or(scene.house.now);
            let share = match asking.class {
                Class::Interactive => 1.0,
                Class::Batch => world.bounds.batch_share,
            };
            let turns = outstanding as f64 * letters.p_all / (share * f64::from(asking.weight));
            // Others pass a request with images several times before the permit is kept for it.
            let times = if asking.images { f64::from(PASSES_MAX) } else { 1.0 };
            let bound = 40.0 + 2.0 * letters.a * outstanding as f64 + 2.0 * times * turns * longest;
            prop_assert!(until - entered <= bound, "{asking:?} waited {} of {bound}", until - entered);
        }
    }
}
