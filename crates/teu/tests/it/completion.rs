//! Completion in a real shell: the script, the hidden command, and the names that the engine knows.

use std::process::Command;

use testkit::daemon::{Daemon, Network};

/// Completes lines in bash, one answer a line.
const COMPLETE: &str = r#"
source <(teu completion bash)
while read -r line; do
  COMP_LINE="${line%.}" COMP_POINT=$((${#line} - 1)) COMPREPLY=()
  _teu
  echo "${COMPREPLY[*]}"
done
"#;

#[test]
fn bash_completes_words_and_the_names_of_the_engine() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    for words in [["create", "--name", "completed", "busybox", "true"].as_slice(), &["volume", "create", "kept"]] {
        assert!(daemon.teu(words).unwrap().status.success());
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(crate::teu(), folder.path().join("teu")).unwrap();
    let pairs = [
        ("teu unp", "unpause"),
        ("teu container pru", "prune"),
        ("teu run --restart unl", "unless-stopped"),
        ("teu run --restart=unl", "unless-stopped"),
        ("teu run --network n", "none"),
        ("teu rm com", "completed"),
        ("teu start ", "completed"),
        ("teu cp com", "completed:"),
        ("teu stop com", ""),
        ("teu volume rm k", "kept"),
        ("teu rmi busybox:l", "latest"),
    ];
    let lines = folder.path().join("lines");
    std::fs::write(&lines, pairs.map(|(line, _)| format!("{line}.\n")).concat()).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", COMPLETE])
        .env("PATH", path)
        .env("DOCKER_HOST", daemon.host())
        .stdin(std::fs::File::open(&lines).unwrap())
        .output()
        .unwrap();
    let answers: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    for ((line, wanted), answer) in pairs.iter().zip(&answers) {
        assert_eq!(answer, wanted, "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(answers.len(), pairs.len());
}

#[test]
fn every_page_of_the_manual_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let written = Command::new(crate::teu()).arg("man").arg(folder.path()).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    for page in ["teu.1", "teu-run.1", "teu-container-ls.1", "teu-network.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.starts_with(".TH ") && text.contains("\n.SH SYNOPSIS\n"), "{page}");
    }
}
