//! Downloads that break off, are wrong, or meet another one.

use std::fs;

use midlayer::hub::HubError;

use super::{pull, squad};
use crate::server::{Fault, sha256};

#[test]
fn a_cut_connection_leaves_no_file_and_the_next_attempt_goes_on() {
    let (place, bytes) = squad(vec![Fault::Cut(100_000), Fault::Cut(50_000)]);
    let hub = place.hub();
    for kept in [100_000, 150_000] {
        match pull(&hub) {
            Err(HubError::Interrupted { done, total, .. }) => {
                assert_eq!((done, total), (kept, 300_000));
            }
            other => panic!("{other:?}"),
        }
        assert!(place.finished().is_empty());
        assert!(matches!(
            pull(&place.offline()),
            Err(HubError::Offline { .. })
        ));
    }
    assert_eq!(fs::read(pull(&hub).unwrap()).unwrap(), bytes);
    assert_eq!(place.server.sent(), [0, 100_000, 150_000]);
}

#[test]
fn wrong_bytes_are_not_kept() {
    let (place, bytes) = squad(vec![Fault::Flip]);
    let hub = place.hub();
    match pull(&hub) {
        Err(HubError::Mismatch { what, expected, .. }) => {
            assert_eq!((what, expected), ("SHA-256", sha256(&bytes)));
        }
        other => panic!("{other:?}"),
    }
    assert!(place.finished().is_empty());
    assert_eq!(fs::read(pull(&hub).unwrap()).unwrap(), bytes);
    assert_eq!(place.server.sent(), [0, 0]);
}

#[test]
fn a_server_that_does_not_resume_is_noticed() {
    let (place, bytes) = squad(vec![Fault::Cut(1000), Fault::NoRange]);
    let hub = place.hub();
    assert!(matches!(
        pull(&hub),
        Err(HubError::Interrupted { done: 1000, .. })
    ));
    match pull(&hub) {
        Err(HubError::Mismatch { what, found, .. }) => {
            assert_eq!((what, &*found), ("size", "301000"));
        }
        other => panic!("{other:?}"),
    }
    assert!(place.finished().is_empty());
    assert_eq!(fs::read(pull(&hub).unwrap()).unwrap(), bytes);
}

#[test]
fn what_an_attempt_left_unchecked_is_checked_by_the_next() {
    // All bytes were there when the process died; or, somehow, one too many.
    for (more, sent) in [(0, vec![]), (1, vec![0])] {
        let (place, bytes) = squad(vec![]);
        let folder = place.cache().join("datasets--rajpurkar--squad");
        let aside = folder.join(format!(".incoming-{}", sha256(&bytes)));
        let blobs = aside.join("datasets--rajpurkar--squad/blobs");
        fs::create_dir_all(&blobs).unwrap();
        let part = blobs.join(format!("{}.part", sha256(&bytes)));
        fs::write(&part, [&bytes[..], &vec![0; more]].concat()).unwrap();
        assert_eq!(fs::read(pull(&place.hub()).unwrap()).unwrap(), bytes);
        assert_eq!(place.server.sent(), sent);
        assert!(!aside.exists());
    }
}

#[test]
fn two_at_once_download_once() {
    let (place, bytes) = squad(vec![]);
    let hub = place.hub();
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| pull(&hub).unwrap()));
        for path in both.map(|thread| thread.join().unwrap()) {
            assert_eq!(fs::read(path).unwrap(), bytes);
        }
    });
    assert_eq!(place.server.sent(), [0]);
}
