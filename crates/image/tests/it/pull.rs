//! Pulls from memory: kinds of compression, bounds, and what is kept for the next attempt.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write as _};
use std::sync::Mutex;

use image::{BlobSource, Images, PullError, PullLimits, PullPlan, PullStep};
use oci::Digest;
use oci::image::{Descriptor, Manifest};
use testkit::faulty::{Sample, digest, tar};

use crate::{Fixture, names};

/// Blobs by their digests, with a note of what was asked for.
struct Memory {
    blobs: BTreeMap<Digest, Vec<u8>>,
    asked: Mutex<Vec<u64>>,
    /// Bytes after which each reader fails.
    breaks: usize,
}

impl Memory {
    fn of(sample: &Sample) -> Self {
        let blobs = sample.layers.iter().map(|layer| (Digest::of(layer), layer.clone())).collect();
        Self { blobs, asked: Mutex::default(), breaks: usize::MAX }
    }
}

/// Ends with an error, as a network does.
struct Breaking(Cursor<Vec<u8>>);

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the line is cut")),
            count => Ok(count),
        }
    }
}

impl BlobSource for Memory {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        self.asked.lock().unwrap().push(offset);
        let begin = usize::try_from(offset).unwrap();
        let rest = &self.blobs[&blob.digest][begin..];
        if rest.len() > self.breaks {
            return Ok(Box::new(Breaking(Cursor::new(rest[..self.breaks].to_vec()))));
        }
        Ok(Box::new(Cursor::new(rest.to_vec())))
    }
}

fn plan(sample: &Sample) -> PullPlan {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let manifest: Manifest = serde_json::from_slice(&sample.manifest).unwrap();
    PullPlan {
        config: text(&sample.config),
        manifest: text(&sample.manifest),
        layers: manifest.layers,
        names: vec!["r.example/x:1".parse().unwrap()],
        repository: "r.example/x".parse().unwrap(),
        index: None,
    }
}

fn pull(images: &Images, sample: &Sample, source: &Memory, limits: PullLimits) -> Result<image::Loaded, PullError> {
    images.pull(plan(sample), source, limits, &|_, _| true)
}

fn limits() -> PullLimits {
    PullLimits { reserve_bytes: 1 << 20, ..PullLimits::default() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_kind_of_compression_gives_the_same_layers() {
    let tars: Vec<Vec<u8>> = (0..4).map(|number| tar(&format!("f{number}"), &vec![number; 100_000])).collect();
    let members = [gzip(&tars[1][..1000]), gzip(&tars[1][1000..])].concat();
    let frames = [zstd::encode_all(&tars[3][..5000], 3).unwrap(), zstd::encode_all(&tars[3][5000..], 3).unwrap()].concat();
    let layers = vec![gzip(&tars[0]), members, tars[2].clone(), frames];
    let sample = Sample::of(layers, &tars.iter().map(|tar| digest(tar)).collect::<Vec<_>>());
    let fixture = Fixture::new();
    let loaded = pull(&fixture.images, &sample, &Memory::of(&sample), limits()).unwrap();
    let image = fixture.images.get(&loaded.id).unwrap();
    assert_eq!(image.layers, tars.iter().map(|tar| Digest::of(tar)).collect::<Vec<_>>());
    assert_eq!(names(&fixture.path("ingest")), [""; 0]);
    // What is pushed is what was pulled, and a layer that was compressed anew is the same each time.
    let pushable = fixture.images.pushable(&loaded.id).unwrap();
    assert_eq!(pushable.manifest.unwrap().as_bytes(), sample.manifest);
    let known = fixture.images.known_blobs(&image.layers[1]);
    assert_eq!(known[0].digest, Digest::of(&sample.layers[1]));
    assert_eq!(known[0].repositories, ["r.example/x"]);
    let mut packed = (Vec::new(), Vec::new());
    let first = fixture.images.pack_layer(&image.layers[2], &mut packed.0).unwrap();
    assert_eq!(fixture.images.pack_layer(&image.layers[2], &mut packed.1).unwrap(), first);
    assert_eq!((packed.0 == packed.1, first.digest), (true, Digest::of(&packed.0)));
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed.0[..]).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, tars[2]);
}

#[test]
fn a_bomb_and_a_full_disk_are_refused() {
    let fixture = Fixture::new();
    let bomb = tar("zeros", &vec![0; 8 << 20]);
    let sample = Sample::of(vec![gzip(&bomb)], &[digest(&bomb)]);
    let bounded = PullLimits { ratio_max: 10, unpacked_bytes_min: 1 << 20, ..limits() };
    let error = pull(&fixture.images, &sample, &Memory::of(&sample), bounded).unwrap_err();
    assert!(matches!(error, PullError::Layer { .. }), "{error:?}");
    fixture.assert_empty();
    assert_eq!(names(&fixture.path("ingest")), [""; 0]);
    let error = pull(&fixture.images, &sample, &Memory::of(&sample), PullLimits { reserve_bytes: 1 << 60, ..limits() }).unwrap_err();
    assert!(error.to_string().starts_with("no space left on device: the image needs at least"), "{error}");
    fixture.assert_empty();
    pull(&fixture.images, &sample, &Memory::of(&sample), limits()).unwrap();
}

#[test]
fn what_came_is_kept_and_what_is_wrong_is_not() {
    let fixture = Fixture::new();
    let sample = Sample::new(1, 1_000_000).unwrap();
    let cut = Memory { breaks: 300_000, ..Memory::of(&sample) };
    let error = pull(&fixture.images, &sample, &cut, limits()).unwrap_err();
    assert_eq!(error.to_string(), "the line is cut");
    fixture.assert_empty();
    let kept = fixture.path("ingest").join(names(&fixture.path("ingest")).remove(0));
    assert_eq!(fs_err::metadata(&kept).unwrap().len(), 300_000);
    // A power cut leaves zeros: they are found out, and all is fetched once more.
    fs_err::write(&kept, vec![0; 300_000]).unwrap();
    let whole = Memory::of(&sample);
    pull(&fixture.images, &sample, &whole, limits()).unwrap();
    assert_eq!(*whole.asked.lock().unwrap(), [300_000, 0]);
    assert_eq!(names(&fixture.path("ingest")), [""; 0]);
}

#[test]
fn a_pull_that_nobody_wants_ends() {
    let fixture = Fixture::new();
    let sample = Sample::new(3, 400_000).unwrap();
    let steps = Mutex::new(0);
    let report = |_: &Digest, step: PullStep| {
        let mut steps = steps.lock().unwrap();
        *steps += u32::from(matches!(step, PullStep::Downloading { .. }));
        *steps < 3
    };
    let error = fixture.images.pull(plan(&sample), &Memory::of(&sample), limits(), &report).unwrap_err();
    assert_eq!(error.to_string(), "context canceled");
    fixture.assert_empty();
}
