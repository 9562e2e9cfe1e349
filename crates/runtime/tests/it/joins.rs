//! Namespaces that others have made.

use oci::runtime::{IdMapping, Namespace, NamespaceType};

use crate::bundle::Bundle;

/// Names what each namespace of the process is.
fn script() -> String {
    ["user", "net", "pid", "mnt", "uts"].map(|kind| format!("readlink /proc/self/ns/{kind}; ")).concat() + "id -u; hostname"
}

fn namespace(of: u32, kind: &str) -> String {
    std::fs::read_link(format!("/proc/{of}/ns/{kind}")).unwrap().to_str().unwrap().to_owned()
}

fn with_user(script: &str) -> Bundle {
    let mut bundle = Bundle::new(script);
    bundle.linux().namespaces.push(Namespace { kind: NamespaceType::User, path: None });
    let map = vec![IdMapping { container_id: 0, host_id: 100_000, size: 65536 }];
    bundle.linux().uid_mappings = map.clone();
    bundle.linux().gid_mappings = map;
    std::fs::set_permissions(bundle.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle
}

fn started(bundle: &Bundle) -> u32 {
    let pid_file = bundle.folder.path().join("pid");
    let ended = bundle.oci(&["run", "-d", "--pid-file", pid_file.to_str().unwrap(), &bundle.id()]);
    assert_eq!(ended.code, 0, "{}", ended.output);
    std::fs::read_to_string(pid_file).unwrap().parse().unwrap()
}

#[test]
fn a_joined_user_namespace_owns_the_new_ones() {
    let first = with_user("sleep 100000");
    let pid = started(&first);
    let mut second = with_user(&script());
    second.linux().uid_mappings.clear();
    second.linux().gid_mappings.clear();
    for namespace in &mut second.linux().namespaces {
        if namespace.kind == NamespaceType::User {
            namespace.path = Some(format!("/proc/{pid}/ns/user").into());
        }
    }
    // The default mounts, sysfs among them, show that the container's root owns the network namespace.
    let text = second.run().output;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert_eq!(lines[0], namespace(pid, "user"));
    for (kind, line) in ["net", "pid", "mnt", "uts"].iter().zip(&lines[1..]) {
        assert_ne!(*line, namespace(pid, kind));
        assert_ne!(*line, namespace(std::process::id(), kind));
    }
    assert_eq!(lines[5..], ["0", "box"]);
    first.delete();
}

#[test]
fn a_new_user_namespace_joins_the_network_of_the_host() {
    let mut bundle = with_user(&script());
    for namespace in &mut bundle.linux().namespaces {
        if namespace.kind == NamespaceType::Network {
            namespace.path = Some(format!("/proc/{}/ns/net", std::process::id()).into());
        }
    }
    // A sysfs of a network that belongs to others cannot be mounted: the host's is passed on.
    let text = bundle.run().output;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert_ne!(lines[0], namespace(std::process::id(), "user"));
    assert_eq!(lines[1], namespace(std::process::id(), "net"));
}

#[test]
fn a_root_that_is_moved_hides_the_host() {
    let bundle = Bundle::new("ls /bin/busybox; ls -d /var || echo hidden; pwd");
    let ended = bundle.oci(&["run", "--no-pivot", &bundle.id()]);
    assert_eq!(ended.output, "/bin/busybox\nls: /var: No such file or directory\nhidden\n/\n");
    let bundle = Bundle::new("sleep 100000");
    assert_eq!(bundle.oci(&["run", "--no-pivot", "-d", &bundle.id()]).code, 0);
    assert_eq!(bundle.oci(&["exec", &bundle.id(), "cat", "/etc/passwd"]).output.lines().count(), 2);
    bundle.delete();
}
