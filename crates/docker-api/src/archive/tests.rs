use super::path::{CopyEnd, Destination, clean, destination, dir, preserve_ending, rename, split_entry};
use super::*;

fn open(path: &std::path::Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn options(folder: &str) -> ExtractOptions {
    ExtractOptions { folder: folder.to_owned(), keep_kinds: true, owner: Owner::Caller, rename: None }
}

#[test]
fn paths_are_those_of_go() {
    assert_eq!(clean("a//b/../c/."), "a/c");
    assert_eq!((clean("/.."), clean(""), clean("../x")), ("/".to_owned(), ".".to_owned(), "../x".to_owned()));
    assert_eq!((dir("/a/b/"), dir("a"), dir("/a")), ("/a/b".to_owned(), ".".to_owned(), "/".to_owned()));
    assert_eq!(split_entry("/a/b/."), ("/a/b".to_owned(), ".".to_owned()));
    assert_eq!(split_entry("/a/b/"), ("/a".to_owned(), "b".to_owned()));
    assert_eq!(preserve_ending("/a".to_owned(), "a/."), "/a/.");
    assert_eq!(preserve_ending("/a".to_owned(), "a/"), "/a/");
}

#[test]
fn a_copy_goes_where_docker_puts_it() {
    let end = |path: &str, exists, is_directory| CopyEnd { path: path.to_owned(), exists, is_directory, rebase: None };
    let renamed =
        |folder: &str, old: &str, new: &str| Destination { folder: folder.to_owned(), rename: Some((old.to_owned(), new.to_owned())) };
    let (file, folder) = (end("/s/f", true, false), end("/s/d", true, true));
    assert_eq!(destination(&file, &end("/t", true, true)), Ok(Destination { folder: "/t".to_owned(), rename: None }));
    assert_eq!(destination(&folder, &end("/t/x", true, false)), Err("cannot copy directory"));
    assert_eq!(destination(&file, &end("/t/x", true, false)), Ok(renamed("/t", "f", "x")));
    assert_eq!(destination(&folder, &end("/t/x", false, false)), Ok(renamed("/t", "d", "x")));
    assert_eq!(destination(&file, &end("/t/x/", false, false)), Err("no such directory"));
    assert_eq!(destination(&end("/s/d/.", true, true), &end("/t/x", false, false)), Ok(renamed("/t", ".", "x")));
    assert_eq!(rename(b"./a/b", Some(&(".".to_owned(), "x".to_owned()))), b"x/a/b");
    assert_eq!(rename(b"d/a", Some(&("d".to_owned(), "e".to_owned()))), b"e/a");
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let long = "n".repeat(180);
    std::fs::create_dir_all(from.path().join("d/deep")).unwrap();
    std::fs::write(from.path().join("d/file"), vec![7; 70_000]).unwrap();
    std::fs::write(from.path().join("d/deep").join(&long), b"long").unwrap();
    std::fs::hard_link(from.path().join("d/file"), from.path().join("d/second")).unwrap();
    std::os::unix::fs::symlink("file", from.path().join("d/link")).unwrap();
    let mut archive = Vec::new();
    let tree = Tree::of_caller(open(from.path()));
    pack(Source { tree: &tree, folder: "", entry: "d", name: "d" }, &mut archive).unwrap();
    let target = Tree::of_caller(open(to.path()));
    assert_eq!(extract(&target, &options(""), &archive[..]).unwrap(), 70_004);
    assert_eq!(std::fs::read(to.path().join("d/second")).unwrap(), vec![7; 70_000]);
    assert_eq!(std::fs::read(to.path().join("d/deep").join(&long)).unwrap(), b"long");
    assert_eq!(std::fs::read_link(to.path().join("d/link")).unwrap().to_str(), Some("file"));
    let error = extract(&target, &ExtractOptions { rename: Some(("d".to_owned(), "d/file".to_owned())), ..options("") }, &archive[..]);
    assert!(error.unwrap_err().to_string().starts_with("cannot overwrite non-directory"), "kinds are kept");
}

#[test]
fn nothing_is_written_outside() {
    let outside = tempfile::tempdir().unwrap();
    let inside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), inside.path().join("way")).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    archive.append_data(&mut header, "way/file", &b"x"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let local = Tree::of_caller(open(inside.path()));
    extract(&local, &options(""), &archive[..]).unwrap_err();
    // In a container the same link leads to a directory of this name in it.
    let container = Tree::of_container(open(inside.path()));
    extract(&container, &options("/"), &archive[..]).unwrap_err();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn links_are_followed_inside() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::os::unix::fs::symlink("/etc", root.path().join("a")).unwrap();
    std::os::unix::fs::symlink("../../../a", root.path().join("etc/up")).unwrap();
    std::os::unix::fs::symlink("loop", root.path().join("loop")).unwrap();
    let tree = Tree::of_container(open(root.path()));
    assert_eq!(tree.follow("/etc/up/missing").unwrap(), "/etc/missing");
    assert_eq!(tree.follow("/loop"), Err(Errno::LOOP));
    assert!(is_symlink(go_mode(&tree.stat("/a").unwrap())));
    assert!(is_directory(go_mode(&tree.stat("/a/").unwrap())));
}
