//! One upstream: its slots, and the models that it has loaded.

use std::collections::{HashMap, VecDeque};

use crate::rules::queue::core::Slots;

pub struct SlotState {
    pub slots: Slots,
    pub free: usize,
    /// It takes no new work.
    pub down: bool,
    /// Running requests by model; none is zero.
    pub models: HashMap<String, usize>,
    /// The models that ran last, newest at the end: what the upstream probably has loaded.
    pub loaded: VecDeque<String>,
}

impl SlotState {
    pub fn can_run(&self, model: &str) -> bool {
        !self.down && self.free > 0 && self.models.get(model).is_none_or(|running| *running < self.slots.per_model)
    }

    /// Returns whether a request for `model` could run there when one that runs, for `other`, has ended.
    pub fn fits_instead(&self, model: &str, other: &str) -> bool {
        model == other || self.models.get(model).is_none_or(|running| *running < self.slots.per_model)
    }

    pub fn has_loaded(&self, model: &str) -> bool {
        self.loaded.iter().any(|loaded| loaded == model)
    }

    pub fn takes(&mut self, model: &str) {
        self.free -= 1;
        *self.models.entry(model.to_owned()).or_default() += 1;
        self.loaded.retain(|loaded| loaded != model);
        self.loaded.push_back(model.to_owned());
        if self.loaded.len() > self.slots.models_loaded {
            self.loaded.pop_front();
        }
    }

    pub fn gives_back(&mut self, model: &str) {
        self.free += 1;
        if let Some(running) = self.models.get_mut(model) {
            *running -= 1;
            if *running == 0 {
                self.models.remove(model);
            }
        }
    }
}
