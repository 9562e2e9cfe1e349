//! What `run` changes of a plan: its service has one container more, which the plan does not know.

use super::{Action, Plan, Step, Target};
use crate::desired::{Condition, Desired};
use crate::observe::Observed;

impl Plan {
    /// Takes the steps out that start a container of this service: `run` has one of its own.
    pub fn leave_alone(&mut self, name: &str) {
        let idle = |step: &Step| matches!(&step.action, Action::Start { service, .. } if service == name);
        for number in (0..self.steps.len()).rev() {
            if !self.steps.get(number).is_some_and(idle) {
                continue;
            }
            self.steps.remove(number);
            for step in &mut self.steps {
                step.after.retain(|before| *before != number);
                for before in step.after.iter_mut().filter(|before| **before > number) {
                    *before -= 1;
                }
                if let Action::Start { container: Target::Made(made), .. } | Action::Rename { container: Target::Made(made), .. } =
                    &mut step.action
                    && *made > number
                {
                    *made -= 1;
                }
                if let Action::Wait { containers, .. } = &mut step.action {
                    for target in containers {
                        if let Target::Made(made) = target
                            && *made > number
                        {
                            *made -= 1;
                        }
                    }
                }
            }
        }
    }

    /// Adds that what a service needs is waited for.
    pub fn wait_for_needs(&mut self, desired: &Desired, name: &str, observed: &Observed) {
        let needs = desired.services.get(name).map(|service| service.needs(desired)).unwrap_or_default();
        for (other, need) in needs.into_iter().filter(|(_, need)| need.condition != Condition::Started) {
            let mut targets: Vec<Target> = Vec::new();
            for (number, step) in self.steps.iter().enumerate() {
                if matches!(&step.action, Action::Create { service, .. } if *service == other) {
                    targets.push(Target::Made(number));
                }
            }
            let old = observed.containers.iter().filter(|container| container.service() == other && !container.is_oneoff());
            targets.extend(old.map(|container| Target::Existing(container.id.clone())));
            let after = (0..self.steps.len()).collect();
            let action = Action::Wait { service: other.clone(), condition: need.condition, containers: targets, required: need.required };
            self.add(after, action, format!("Service {other}"), format!("{name} needs it"));
        }
    }
}
