use std::fs;

use super::*;

const OLD: &str = "c_replaced_1";

/// A data directory with an old `c` and a new one beside it, and a state directory.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in [("data/c", "old"), ("data/.clones/1/database", "new"), ("data/other", "other")] {
            fs::create_dir_all(dir.path().join(name)).expect("a directory");
            fs::write(dir.path().join(name).join("rows"), text).expect("written");
        }
        fs::create_dir(dir.path().join("state")).expect("a directory");
        Self(dir)
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn complete(&self) -> Result<(), MovesError> {
        complete(&self.state(), &self.data())
    }

    fn run(&self, moves: Vec<Move>) -> Result<(), NotMoved> {
        run(&self.state(), &self.data(), Moves::new(moves, None))
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.data().join(name).join("rows")).ok()
    }

    /// What has these names.
    fn texts(&self) -> [Option<String>; 3] {
        ["c", OLD, ".clones/1/database"].map(|name| self.text(name))
    }

    fn is_forgotten(&self) -> bool {
        fs::read_dir(self.state()).expect("there").next().is_none()
    }
}

fn moves() -> Vec<Move> {
    vec![Move::new("c", OLD), Move::new(".clones/1/database", "c")]
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn done_in_order_and_forgotten() {
    let place = Place::new();
    place.run(moves()).expect("done");
    assert_eq!(place.texts(), [some("new"), some("old"), None]);
    assert!(place.is_forgotten());
    place.complete().expect("nothing to do");
    // Nobody else may look into a directory that is made for it.
    place.run(vec![Move::new(OLD, ".kept/old")]).expect("done");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(place.data().join(".kept")).unwrap().permissions(),
    );
    assert_eq!((place.text(".kept/old"), mode & 0o777), (some("old"), 0o700));
}

/// Each write of the list and each rename is a step; cut off after any of them, the next start completes it.
#[test]
fn cut_off_after_any_step_it_is_completed() {
    for cut in 0..=5 {
        let place = Place::new();
        let all = Moves::new(moves(), None);
        let steps: [&dyn Fn(); 5] = [
            &|| all.write(&place.state()).expect("written"),
            &|| rename(&place.data(), "c", OLD).expect("renamed"),
            &|| Moves::new(moves()[1..].to_vec(), None).write(&place.state()).expect("written"),
            &|| rename(&place.data(), ".clones/1/database", "c").expect("renamed"),
            &|| forget(&place.state()).expect("removed"),
        ];
        steps[..cut].iter().for_each(|step| step());
        for _ in 0..2 {
            place.complete().unwrap_or_else(|error| panic!("{cut}: {error}"));
            let want = match cut {
                0 => [some("old"), None, some("new")],
                _ => [some("new"), some("old"), None],
            };
            assert_eq!(place.texts(), want, "{cut}");
            assert!(place.is_forgotten(), "{cut}");
        }
        assert_eq!(place.text("other"), some("other"));
    }
}

#[test]
fn what_is_not_possible_is_not_begun() {
    for (spoil, problem) in
        [(".clones/1/database", "neither is there"), ("c", "neither is there"), (OLD, "both are there")]
    {
        let place = Place::new();
        match spoil {
            OLD => fs::create_dir(place.data().join(OLD)).expect("made"),
            gone => fs::remove_dir_all(place.data().join(gone)).expect("removed"),
        }
        let before = place.texts();
        let refused = place.run(moves()).expect_err(spoil);
        assert!(refused.as_before && refused.why.contains(problem), "{spoil}: {refused:?}");
        assert_eq!(place.texts(), before, "{spoil}");
        assert!(place.is_forgotten(), "{spoil}");
        // Found at a start it is told, and stays.
        Moves::new(moves(), None).write(&place.state()).expect("written");
        let told = place.complete().expect_err(spoil).to_string();
        assert!(told.contains(FILE) && told.contains(problem) && told.contains("remove the file"), "{told}");
        assert_eq!(place.texts(), before, "{spoil}");
    }
}

#[test]
fn one_that_fails_takes_back_what_was_done() {
    let place = Place::new();
    // Below a file there can be no directory.
    fs::write(place.data().join("file"), "").expect("written");
    let mut all = moves();
    all.push(Move::new("other", "file/below"));
    let failed = place.run(all).expect_err("not a directory");
    assert!(failed.as_before, "{failed:?}");
    assert_eq!(place.texts(), [some("old"), None, some("new")]);
    assert!(place.is_forgotten());
}

#[test]
fn a_doubtful_one_goes_out_of_the_way_only_if_dolt_names_it() {
    let place = Place::new();
    let doubtful = Move::new(OLD, format!(".kept/{OLD}"));
    run(&place.state(), &place.data(), Moves::new(moves(), Some(doubtful))).expect("done");
    let says = |name: &str| {
        let line = format!(
            "Failed to load database {name} due to error: possible data loss detected: corrupted journal"
        );
        give_up_doubtful(&place.state(), &["something else".to_owned(), line])
    };
    place.complete().expect("nothing to do");
    assert!(!says("other") && !place.is_forgotten());
    assert!(says(OLD) && !says(OLD));
    // Of any but the first it opens, Dolt does not say the name.
    let doubtful = Moves::new(vec![], Some(Move::new(OLD, format!(".kept/{OLD}"))));
    doubtful.write(&place.state()).expect("written");
    assert!(!give_up_doubtful(&place.state(), &["address already in use".to_owned()]));
    let nameless = "possible data loss detected in journal file at offset 1950: corrupted journal";
    assert!(give_up_doubtful(&place.state(), &[nameless.to_owned()]));
    assert_eq!(place.text(OLD), some("old"), "not before the next start");
    place.complete().expect("done");
    assert_eq!(place.texts(), [some("new"), None, None]);
    assert_eq!(place.text(&format!(".kept/{OLD}")), some("old"));
    assert!(place.is_forgotten());

    let place = Place::new();
    run(&place.state(), &place.data(), Moves::new(moves(), Some(Move::new(OLD, ".kept/x")))).expect("done");
    settle(&place.state());
    assert!(place.is_forgotten() && !give_up_doubtful(&place.state(), &[]));
}

#[test]
fn nothing_outside_of_the_data_directory_is_touched() {
    let place = Place::new();
    for name in ["", "/tmp/x", "../x", "a/../../x", "./x"] {
        Moves::new(vec![Move::new("c", name)], None).write(&place.state()).expect("written");
        let told = place.complete().expect_err(name).to_string();
        assert!(told.contains("outside"), "{name}: {told}");
    }
    for text in ["", "{}", r#"{"version": 2, "moves": []}"#] {
        fs::write(place.state().join(FILE), text).expect("written");
        assert!(matches!(place.complete(), Err(MovesError::Unreadable { .. })), "{text}");
    }
    assert_eq!(place.texts(), [some("old"), None, some("new")]);
}
