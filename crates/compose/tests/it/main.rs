//! Projects are loaded as Docker Compose loads them, and what it refuses is refused with its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compose::{Options, Project};

/// Stands for the folder of a case in what is recorded.
const FOLDER: &str = "@FOLDER@";
/// Stands for the folder above it.
const ABOVE: &str = "@ABOVE@";

/// What was recorded, with the folders of today.
fn replaced(recorded: &str, case: &Path) -> String {
    let above = case.parent().unwrap_or(case).display().to_string();
    recorded.replace(FOLDER, &case.display().to_string()).replace(ABOVE, &above)
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(kind);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder).expect("cases").flatten().map(|entry| entry.path()).collect();
    cases.sort();
    assert!(cases.len() > 30, "the cases are here");
    cases
}

/// What a case says of flags and environment: `args` holds the words before and, behind `SERVICES`, after the
/// command; `env` holds variables.
fn options(case: &Path) -> Options {
    let text = |name: &str| std::fs::read_to_string(case.join(name)).unwrap_or_default();
    let mut environment: BTreeMap<String, String> =
        text("env").lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    environment.entry("HOME".to_owned()).or_insert_with(|| "/home/user".to_owned());
    let mut options = Options::new(case.to_owned(), environment);
    let args = text("args");
    let mut words = args.split_whitespace();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default().to_owned();
        match word {
            "-f" => options.files.push(value()),
            "-p" => options.project_name = Some(value()),
            "--profile" => options.profiles.push(value()),
            "--env-file" => options.env_files.push(value().into()),
            "SERVICES" => options.services.extend(words.by_ref().map(str::to_owned)),
            other => panic!("{}: unknown word {other}", case.display()),
        }
    }
    options
}

fn load(case: &Path) -> Project {
    compose::load(&options(case)).unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

/// Compares with what Docker Compose printed for the case.
fn compare(case: &Path, name: &str, printed: &str) -> Option<String> {
    let recorded = std::fs::read_to_string(case.join(name)).unwrap_or_default();
    let recorded = replaced(&recorded, case);
    let printed = printed.replace('$', "$$");
    if recorded == printed {
        return None;
    }
    let lines = recorded.lines().zip(printed.lines()).enumerate();
    let first = lines.into_iter().find(|(_, (old, new))| old != new);
    Some(format!("{}/{name}: {first:?}, {} and {} bytes", case.display(), recorded.len(), printed.len()))
}

#[test]
fn config_prints_what_docker_compose_prints() {
    let mut wrong = Vec::new();
    for case in cases("golden") {
        let project = load(&case);
        wrong.extend(compare(&case, "expected.yaml", &project.to_yaml().expect("prints")));
        wrong.extend(compare(&case, "expected.json", &project.to_json().expect("prints")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn configuration_hashes_are_those_of_docker_compose() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases("golden") {
        let mut options = options(&case);
        // `config --hash '*'` knows no selection.
        options.services.clear();
        let project = compose::load(&options).expect("loads");
        let recorded = std::fs::read_to_string(case.join("expected.hash")).unwrap_or_default();
        let folder = case.display().to_string();
        for (name, service) in &project.services {
            // A service with paths below the case has another hash in each checkout.
            let text = serde_json::to_string(service).expect("prints");
            if text.contains(&folder) || text.contains(&folder[..folder.rfind('/').unwrap_or_default()]) {
                continue;
            }
            let hash = service.config_hash().expect("hashes");
            if !recorded.lines().any(|line| line == format!("{name} {hash}")) {
                wrong.push(format!("{}: {name} {hash}", case.display()));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 30, "only {count} hashes were compared");
}

#[test]
fn what_docker_compose_refuses_is_refused_with_its_place() {
    let mut wrong = Vec::new();
    for case in cases("refused") {
        let printed = match compose::load(&options(&case)) {
            Ok(_) => "loaded".to_owned(),
            Err(error) => error.to_string(),
        };
        let recorded = std::fs::read_to_string(case.join("error")).unwrap_or_default();
        let recorded = replaced(recorded.trim_end(), &case);
        if recorded != printed {
            wrong.push(format!("{}\n  recorded: {recorded}\n  now:      {printed}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_printed_loads_as_the_same_project() {
    for case in cases("golden") {
        let mut project = load(&case);
        if project.name.is_empty() || !project.jobs.is_empty() {
            continue;
        }
        let printed = project.to_yaml().expect("prints").replace('$', "$$");
        let mut options = Options::new(case.clone(), BTreeMap::from([("COMPOSE_PROFILES".to_owned(), "*".to_owned())]));
        options.files = vec!["-".to_owned()];
        options.stdin = printed;
        // An optional dependency on what no profile names is printed, and then undefined.
        options.skip.consistency = true;
        options.environment.extend(options.environment.get("TOKEN").cloned().map(|token| ("TOKEN".to_owned(), token)));
        let again = compose::load(&options).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        for secret in project.secrets.values_mut().chain(project.configs.values_mut()) {
            if !secret.environment.is_empty() {
                secret.content.clear();
            }
        }
        for (name, service) in &project.services {
            // A hook before the start that was printed has the attributes of its service already.
            if service.pre_start.is_empty() && service.container.label_file.is_empty() {
                assert_eq!(Some(service), again.services.get(name), "{}", case.display());
            }
        }
    }
}
