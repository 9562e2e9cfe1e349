//! Calls that a listener answers for, and labels.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use oci::runtime::{Seccomp, SeccompAction, SeccompRule};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::bundle::Bundle;

fn profile(call: &str) -> Seccomp {
    Seccomp {
        default_action: SeccompAction::Allow,
        syscalls: vec![SeccompRule { names: vec![call.into()], action: SeccompAction::Notify, errno_ret: None, args: Vec::new() }],
        ..Seccomp::default()
    }
}

/// Takes the descriptor that the runtime hands over, and the document with it.
fn accept(listener: &UnixListener) -> (serde_json::Value, OwnedFd) {
    let (connection, _) = listener.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 16384];
    let length = recvmsg(&connection, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    let Some(RecvAncillaryMessage::ScmRights(mut fds)) = control.drain().next() else {
        panic!("no descriptor came");
    };
    (serde_json::from_slice(&text[..length]).unwrap(), fds.next().unwrap())
}

#[test]
fn a_listener_gets_the_descriptor_and_the_call_waits_for_it() {
    for no_new_privileges in [true, false] {
        let mut bundle = Bundle::new("mkdir /x; echo code $?");
        bundle.process().no_new_privileges = no_new_privileges;
        let path = bundle.folder.path().join("listener");
        let listener = UnixListener::bind(&path).unwrap();
        bundle.linux().seccomp =
            Some(Seccomp { listener_path: Some(path), listener_metadata: Some("some words".into()), ..profile("mkdir") });
        let id = bundle.id();
        let answer = std::thread::spawn(move || {
            let (document, fd) = accept(&listener);
            assert_eq!(document["fds"], serde_json::json!(["seccompFd"]));
            assert_eq!(document["metadata"], "some words");
            assert_eq!(document["state"]["id"], id.as_str());
            assert_eq!(document["pid"], document["state"]["pid"]);
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
            // The call waits now; with nobody to answer the kernel says that it has no such call.
            drop(fd);
        });
        let text = bundle.run().output;
        assert_eq!(text, "mkdir: can't create directory '/x': Function not implemented\ncode 1\n");
        answer.join().unwrap();
    }
}

#[test]
fn a_profile_that_nobody_could_answer_for_is_refused() {
    let mut bundle = Bundle::new("true");
    bundle.linux().seccomp = Some(profile("mkdir"));
    assert!(bundle.run().output.contains("SCMP_ACT_NOTIFY needs a listenerPath"));
    bundle.linux().seccomp = Some(Seccomp { listener_path: Some("/nosuch".into()), ..profile("sendmsg") });
    assert!(bundle.run().output.contains("SCMP_ACT_NOTIFY cannot be used for sendmsg"));
    bundle.linux().seccomp = Some(Seccomp { listener_path: Some("/nosuch".into()), ..profile("mkdir") });
    let ended = bundle.run();
    assert!(ended.code == 1 && ended.output.contains("handing the seccomp descriptor over to /nosuch"), "{}", ended.output);
}

#[test]
fn labels_are_refused_where_the_kernel_has_none() {
    use std::io::Write as _;
    if std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y")) {
        let _no_terminal = writeln!(std::io::stderr(), "skipped: this kernel has AppArmor");
    } else {
        let mut bundle = Bundle::new("true");
        bundle.process().apparmor_profile = Some("some-profile".into());
        let text = bundle.run().output;
        assert!(text.contains("apparmor failed to apply profile some-profile: AppArmor is not enabled"), "{text}");
    }
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        let _no_terminal = writeln!(std::io::stderr(), "skipped: this kernel has SELinux");
    } else {
        let mut bundle = Bundle::new("true");
        bundle.process().selinux_label = Some("system_u:system_r:container_t:s0".into());
        assert!(bundle.run().output.contains("selinux is disabled or not supported"));
        bundle.process().selinux_label = None;
        bundle.linux().mount_label = Some("system_u:object_r:container_file_t:s0".into());
        assert!(bundle.run().output.contains("selinux is disabled or not supported"));
    }
}
