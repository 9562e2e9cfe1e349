//! A plan carried out on a model of an engine: afterwards nothing is left to do, from whatever state it began.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Action, Down, Plan, Recreate, Target, Up, down, up};
use crate::body::{self, Wish};
use crate::desired::{Desired, Hashes, Origin};
use crate::labels;
use crate::observe::{Container, Found, Observed};

/// A service as the tests write it: image, what it needs, networks, volume, scale, and a word that makes its hash differ.
#[derive(Clone, Debug)]
struct Draft {
    word: u8,
    needs: Vec<(usize, bool)>,
    network: u8,
    volume: bool,
    scale: u8,
    shares: bool,
    restart: bool,
}

fn draft() -> impl Strategy<Value = Draft> {
    (0u8..3, proptest::collection::vec((0usize..4, any::<bool>()), 0..3), 0u8..3, any::<bool>(), 0u8..4, any::<bool>(), any::<bool>())
        .prop_map(|(word, needs, network, volume, scale, shares, restart)| Draft { word, needs, network, volume, scale, shares, restart })
}

/// The project of these drafts; a service needs only those before it.
fn project(drafts: &[Draft], network_word: u8) -> Desired {
    let (mut services, mut hashes) = (serde_json::Map::new(), Hashes::default());
    for (index, draft) in drafts.iter().enumerate() {
        let name = format!("s{index}");
        let needs: BTreeMap<String, Value> = draft
            .needs
            .iter()
            .filter(|(other, _)| *other < index)
            .map(|(other, healthy)| {
                let condition = if *healthy { "service_healthy" } else { "service_started" };
                (format!("s{other}"), json!({"condition": condition, "restart": draft.restart, "required": true}))
            })
            .collect();
        let mut config = json!({"image": format!("i{}", draft.word), "depends_on": needs, "scale": draft.scale});
        if draft.shares && index > 0 {
            config["network_mode"] = json!(format!("service:s{}", index - 1));
        } else {
            config["networks"] = json!({format!("n{}", draft.network): null});
        }
        if draft.volume {
            config["volumes"] = json!([{"type": "volume", "source": "data", "target": "/data"}]);
        }
        hashes.services.insert(name.clone(), format!("h{}", draft.word));
        services.insert(name, config);
    }
    let networks: BTreeMap<String, Value> = (0..3).map(|number| (format!("n{number}"), json!({"name": format!("p_n{number}")}))).collect();
    for key in networks.keys() {
        hashes.networks.insert(key.clone(), format!("n{network_word}"));
    }
    hashes.volumes.insert("data".into(), "v".into());
    let canonical = json!({"name": "p", "services": services, "networks": networks, "volumes": {"data": {"name": "p_data"}}});
    Desired::new(&canonical, &hashes, Origin::default())
}

/// The engine of the model.
#[derive(Default)]
struct Engine {
    observed: Observed,
    made: u64,
}

impl Engine {
    fn id(&mut self) -> String {
        self.made += 1;
        format!("{:064x}", self.made)
    }

    fn target(&self, target: &Target, made: &BTreeMap<usize, String>) -> usize {
        let id = match target {
            Target::Existing(id) => id,
            Target::Made(step) => &made[step],
        };
        self.observed.containers.iter().position(|container| container.id == *id).unwrap()
    }

    /// Does the first `most` steps of the plan; each must find done what it waits for.
    fn apply(&mut self, desired: &Desired, plan: &Plan, most: usize) {
        let mut made = BTreeMap::new();
        for (number, step) in plan.steps.iter().enumerate().take(most) {
            assert!(step.after.iter().all(|before| *before < plan.steps.len()), "{plan}");
            assert!(!step.cause.is_empty() && !step.subject.is_empty(), "{plan}");
            match &step.action {
                Action::CreateNetwork { key } => {
                    let network = &desired.networks[key];
                    assert!(self.observed.networks.iter().all(|found| found.name != network.name), "two networks {}", network.name);
                    let id = self.id();
                    self.observed.networks.push(Found { id, name: network.name.clone(), labels: bears("p", &network.hash) });
                }
                Action::RemoveNetwork { id } => {
                    let used = self.observed.containers.iter().any(|container| container.networks.values().any(|known| known == id));
                    assert!(!used, "a network is removed under a container\n{plan}");
                    self.observed.networks.retain(|found| found.id != *id);
                }
                Action::Disconnect { network, container } => {
                    // One that is gone already is no harm, as with the engine.
                    let member = self.observed.containers.iter_mut().find(|known| known.id == *container);
                    member.into_iter().for_each(|member| member.networks.retain(|_, id| id != network));
                }
                Action::CreateVolume { key } => {
                    let volume = &desired.volumes[key];
                    let labels = bears("p", &volume.hash);
                    self.observed.volumes.push(Found { id: volume.name.clone(), name: volume.name.clone(), labels });
                }
                Action::RemoveVolume { name } => self.observed.volumes.retain(|found| found.name != *name),
                Action::Create { service, number: count, replaces } => {
                    let id = self.id();
                    let container = self.create(desired, (service, *count, replaces.as_ref()), &id);
                    made.insert(number, id);
                    self.observed.containers.push(container);
                }
                Action::Start { container, .. } => {
                    let at = self.target(container, &made);
                    let container = &mut self.observed.containers[at];
                    "running".clone_into(&mut container.state);
                }
                Action::Stop { container, .. } => {
                    let container = self.observed.containers.iter_mut().find(|known| known.id == *container).unwrap();
                    "exited".clone_into(&mut container.state);
                    "Exited (137) 1 second ago".clone_into(&mut container.status);
                }
                Action::Remove { container, .. } => {
                    let known = self.observed.containers.len();
                    self.observed.containers.retain(|known| known.id != *container);
                    assert_eq!(self.observed.containers.len() + 1, known, "a container is removed twice\n{plan}");
                }
                Action::Rename { container, name } => {
                    assert!(self.observed.containers.iter().all(|known| known.name != *name), "two containers {name}\n{plan}");
                    let at = self.target(container, &made);
                    self.observed.containers[at].name.clone_from(name);
                }
                Action::Wait { containers, .. } => {
                    for target in containers {
                        let at = self.target(target, &made);
                        assert_eq!(self.observed.containers[at].state, "running", "nobody starts what is waited for\n{plan}");
                    }
                }
            }
        }
    }

    fn create(&self, desired: &Desired, (service, number, replaces): (&str, usize, Option<&super::Replaced>), id: &str) -> Container {
        let service = &desired.services[service];
        let body = body::body(desired, service, &Wish { number, replaces, ..Wish::default() });
        let own = body::container_name(desired, service, number);
        let name = replaces.map_or_else(|| own.clone(), |old| format!("{}_{own}", &old.id[..12]));
        assert!(self.observed.containers.iter().all(|known| known.name != name), "two containers {name}");
        let network = |key: &String| {
            let name = &desired.networks[key].name;
            let found = self.observed.networks.iter().find(|found| found.name == *name).expect("the network is made before");
            (name.clone(), found.id.clone())
        };
        let labels = body["Labels"].as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        Container {
            id: id.to_owned(),
            name,
            state: "created".into(),
            labels: labels.collect(),
            networks: service.networks().iter().map(network).collect(),
            volumes: service.named_volumes().map(|(key, place)| (place.to_owned(), desired.volumes[key].name.clone())).collect(),
            ..Container::default()
        }
    }
}

fn bears(project: &str, hash: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(labels::PROJECT.to_owned(), project.to_owned()), (labels::HASH.to_owned(), hash.to_owned())])
}

/// The steps in an order in which an executor may do them, which `random` chooses among all that there are.
fn shuffled(plan: &Plan, mut random: u64) -> (Plan, Vec<usize>) {
    let mut left: BTreeSet<usize> = (0..plan.steps.len()).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let ready: Vec<usize> =
            left.iter().copied().filter(|number| plan.steps[*number].after.iter().all(|before| !left.contains(before))).collect();
        assert!(!ready.is_empty(), "steps wait for each other\n{plan}");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chosen = ready[usize::try_from(random >> 33).unwrap() % ready.len()];
        left.remove(&chosen);
        order.push(chosen);
    }
    let place: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let moved = |target: &Target| match target {
        Target::Made(step) => Target::Made(place[step]),
        Target::Existing(id) => Target::Existing(id.clone()),
    };
    let mut result = Plan { warnings: plan.warnings.clone(), ..Plan::default() };
    for old in &order {
        let mut step = plan.steps[*old].clone();
        step.after = step.after.iter().map(|before| place[before]).collect();
        match &mut step.action {
            Action::Start { container, .. } | Action::Rename { container, .. } => *container = moved(container),
            Action::Wait { containers, .. } => *containers = containers.iter().map(moved).collect(),
            Action::CreateNetwork { .. }
            | Action::RemoveNetwork { .. }
            | Action::Disconnect { .. }
            | Action::CreateVolume { .. }
            | Action::RemoveVolume { .. }
            | Action::Create { .. }
            | Action::Stop { .. }
            | Action::Remove { .. } => {}
        }
        result.steps.push(step);
    }
    (result, order)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(
        before in proptest::collection::vec(draft(), 1..5),
        after in proptest::collection::vec(draft(), 1..5),
        (network_before, network_after) in (0u8..2, 0u8..2),
        cut in 0usize..40,
        random in any::<u64>(),
        orphans in any::<bool>(),
    ) {
        let mut engine = Engine::default();
        let old = project(&before, network_before);
        let plan = up(&old, &engine.observed, &Up::default()).unwrap();
        engine.apply(&old, &shuffled(&plan, random).0, usize::MAX);
        // The change is cut off somewhere, as by a crash, and begun again.
        let new = project(&after, network_after);
        let wish = Up { remove_orphans: orphans, ..Up::default() };
        let plan = up(&new, &engine.observed, &wish).unwrap();
        engine.apply(&new, &shuffled(&plan, random.rotate_left(7)).0, cut);
        let plan = up(&new, &engine.observed, &wish).unwrap();
        engine.apply(&new, &shuffled(&plan, random.rotate_left(13)).0, usize::MAX);
        let again = up(&new, &engine.observed, &wish).unwrap();
        prop_assert!(again.steps.is_empty(), "second plan:\n{again}");
        for service in new.services.values() {
            let mine: Vec<&Container> = engine.observed.containers.iter().filter(|container| container.service() == service.name).collect();
            prop_assert_eq!(mine.len(), service.scale);
            for container in mine {
                let name = body::container_name(&new, service, container.number());
                prop_assert_eq!(&container.name, &name);
                prop_assert_eq!(container.label(labels::HASH), &service.hash);
                prop_assert_eq!(container.state.as_str(), "running");
            }
        }
        let everything = Down { volumes: true, orphans: true, ..Down::default() };
        let plan = down("p", Some(&new), &engine.observed, &everything);
        engine.apply(&new, &shuffled(&plan, random.rotate_left(29)).0, usize::MAX);
        prop_assert!(engine.observed.containers.is_empty() && engine.observed.networks.is_empty() && engine.observed.volumes.is_empty());
    }
}

fn drafts(scales: &[u8]) -> Vec<Draft> {
    let draft =
        |scale: &u8| Draft { word: 0, needs: vec![(0, true)], network: 0, volume: false, scale: *scale, shares: false, restart: true };
    scales.iter().map(draft).collect()
}

#[test]
fn each_step_says_why_it_is_taken() {
    let mut engine = Engine::default();
    let desired = project(&drafts(&[1, 1]), 0);
    let plan = up(&desired, &engine.observed, &Up::default()).unwrap();
    assert_eq!(
        plan.to_string(),
        "#0 create Network p_n0: there is none\n\
         #1 create Container p-s0-1 after #0: there is none\n\
         #2 start Container p-s0-1 after #1: there is none\n\
         #3 create Container p-s1-1 after #0: there is none\n\
         #4 wait Container p-s0-1 after #2: s1 needs it healthy\n\
         #5 start Container p-s1-1 after #3 #4: there is none\n"
    );
    engine.apply(&desired, &plan, usize::MAX);
    let mut changed = drafts(&[1, 1]);
    changed[0].word = 1;
    let plan = up(&project(&changed, 0), &engine.observed, &Up::default()).unwrap();
    let text = plan.to_string();
    assert!(text.contains("#0 recreate Container p-s0-1: image: i0 is now i1\n"), "{text}");
    assert!(text.contains("stop Container p-s1-1: s0, which restarts it, has changed\n"), "{text}");
    let all = Up { recreate: Recreate::Force, ..Up::default() };
    let plan = up(&desired, &engine.observed, &all).unwrap();
    assert_eq!(plan.steps.iter().filter(|step| matches!(step.action, Action::Create { .. })).count(), 2, "{plan}");
}
