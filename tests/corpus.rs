//! Every committed seed of `fuzz/corpus` through the fuzz targets' assertions, without a fuzzer.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::path::Path;

use branchline::{statement, wire};

#[path = "../fuzz/src/targets.rs"]
mod targets;

#[test]
fn every_seed_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut bytes = 0;
    for (name, target) in targets::TARGETS {
        let seeds = std::fs::read_dir(corpus.join(name))
            .unwrap_or_else(|error| panic!("fuzz/corpus/{name}: {error}"))
            .map(|seed| seed.unwrap().path())
            .collect::<Vec<_>>();
        assert!(!seeds.is_empty(), "fuzz/corpus/{name} is empty");
        for seed in seeds {
            let data = std::fs::read(&seed).unwrap();
            assert!(data.len() <= 8 * 1024, "{} is longer than 8 KiB", seed.display());
            bytes += data.len();
            eprintln!("{}", seed.display());
            target(&data);
        }
    }
    assert!(bytes <= 1024 * 1024, "the corpus has {bytes} bytes; at most 1 MiB is committed");
}

#[test]
fn every_target_has_a_program() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml lacks {name}");
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            program.contains(&format!("targets::{name}(data)")),
            "fuzz_targets/{name}.rs runs another target"
        );
    }
}
