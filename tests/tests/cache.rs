//! The cache against a real Redis, in this process: under any interleaving no reader gets a stale value after the reply
//! to a change.
//!
//! The store behind it is a variable, which allows thousands of races a second.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use shared::{
    ambient::Ambient,
    environment,
    error::ApiError,
    store::{
        Redis,
        cache::{self, Cached, Key, Status, Versioned},
    },
};
use tests::Stage;
use tokio::task::JoinSet;
use uuid::Uuid;

const READERS: usize = 32;
const WRITERS: usize = 8;
/// The number of cached things. Few, so that many tasks meet at each.
const THINGS: usize = 4;
/// After this many changes a thing is deleted and replaced by another one.
const CHANGES: u64 = 12;

/// Duration of the race in seconds: 10, or `SOUK_CACHE_RACE_SECONDS`.
fn duration() -> Duration {
    Duration::from_secs(environment::parsed("SOUK_CACHE_RACE_SECONDS").unwrap_or(10))
}

/// A row of the store, and the version that readers have to see.
struct Thing {
    id: Uuid,
    /// The version; `None` once it is deleted.
    row: Mutex<Option<u64>>,
    /// The least version that a reader may get from now on; `u64::MAX` where it may get none.
    acknowledged: AtomicU64,
}

impl Thing {
    fn new(ambient: &Ambient) -> Arc<Self> {
        let row = Mutex::new(Some(1));
        Arc::new(Self { id: ambient.id(), row, acknowledged: AtomicU64::new(1) })
    }

    fn load(&self) -> Option<Versioned<u64>> {
        self.row.lock().unwrap().map(|version| Versioned { version, value: version })
    }
}

/// Random delay: mostly none, sometimes short, rarely long enough to be overtaken.
async fn dawdle(ambient: &Ambient) {
    match ambient.below(10) {
        0 => tokio::time::sleep(Duration::from_millis(ambient.below(60))).await,
        1..=3 => tokio::time::sleep(Duration::from_micros(ambient.below(2000))).await,
        4..=6 => tokio::task::yield_now().await,
        _ => {}
    }
}

async fn read(redis: &Redis, ambient: &Ambient, thing: &Thing) -> Cached {
    let load = async {
        dawdle(ambient).await;
        let found = thing.load();
        // Between the read and its fill.
        dawdle(ambient).await;
        Ok::<_, ApiError>(found)
    };
    cache::read(redis, ambient, Key::product(thing.id), load).await.unwrap()
}

/// Changes the thing or deletes it, as a handler does: the commit, the invalidation, the reply.
async fn write(redis: &Redis, ambient: &Ambient, thing: &Thing) -> bool {
    let (version, is_deleted) = {
        let mut row = thing.row.lock().unwrap();
        let Some(version) = *row else { return false };
        let is_deleted = version >= CHANGES;
        *row = (!is_deleted).then_some(version + 1);
        (version + 1, is_deleted)
    };
    dawdle(ambient).await;
    cache::invalidate(redis, Key::product(thing.id), version).await;
    thing.acknowledged.fetch_max(if is_deleted { u64::MAX } else { version }, Ordering::SeqCst);
    is_deleted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_change_was_acknowledged_nobody_reads_what_was_before_it() {
    let ambient = Ambient::system();
    let things: Arc<Mutex<Vec<Arc<Thing>>>> = Arc::new(Mutex::new((0..THINGS).map(|_| Thing::new(&ambient)).collect()));
    let counts = Arc::new(Mutex::new(HashMap::<&'static str, u64>::new()));
    let end = Instant::now() + duration();
    let mut tasks = JoinSet::new();
    for _ in 0..READERS {
        let (things, ambient, counts) = (Arc::clone(&things), ambient.clone(), Arc::clone(&counts));
        let redis: Redis = Stage::get().resource();
        tasks.spawn(async move {
            while Instant::now() < end {
                // A deleted thing is read as long as a reader holds it.
                let at = usize::try_from(ambient.below(THINGS as u64)).unwrap();
                let thing = Arc::clone(&things.lock().unwrap()[at]);
                for _ in 0..5 {
                    let least = thing.acknowledged.load(Ordering::SeqCst);
                    let Cached { status, found } = read(&redis, &ambient, &thing).await;
                    match &found {
                        Some(found) => assert!(found.version >= least, "{} after {least}, {status:?}", found.version),
                        None => assert!(thing.load().is_none(), "a thing that is there was not found, {status:?}"),
                    }
                    let text = found.map(|found| found.value.parse::<u64>().unwrap() == found.version);
                    assert_ne!(text, Some(false), "a value of another version");
                    *counts.lock().unwrap().entry(status.as_str()).or_default() += 1;
                }
            }
        });
    }
    for _ in 0..WRITERS {
        let (things, ambient, counts) = (Arc::clone(&things), ambient.clone(), Arc::clone(&counts));
        let redis: Redis = Stage::get().resource();
        tasks.spawn(async move {
            while Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(ambient.below(40))).await;
                let at = usize::try_from(ambient.below(THINGS as u64)).unwrap();
                let thing = Arc::clone(&things.lock().unwrap()[at]);
                let is_deleted = write(&redis, &ambient, &thing).await;
                *counts.lock().unwrap().entry(if is_deleted { "deleted" } else { "changed" }).or_default() += 1;
                if is_deleted {
                    things.lock().unwrap()[at] = Thing::new(&ambient);
                }
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    let counts = counts.lock().unwrap();
    println!("{counts:?}");
    for kind in ["hit", "miss", "changed", "deleted"] {
        assert!(counts.get(kind).is_some_and(|count| *count > 10), "too few races to say anything: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_miss_a_key_at_once_few_ask_the_store() {
    let (ambient, loads) = (Ambient::system(), Arc::new(AtomicU64::new(0)));
    let connections: Vec<Redis> = (0..8).map(|_| Stage::get().resource()).collect();
    let key = Key::product(ambient.id());
    let mut tasks = JoinSet::new();
    for reader in 0..64 {
        let (ambient, loads, redis) = (ambient.clone(), Arc::clone(&loads), connections[reader % 8].clone());
        tasks.spawn(async move {
            let load = async {
                loads.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(40)).await;
                Ok(Some(Versioned { version: 1, value: 1 }))
            };
            cache::read(&redis, &ambient, key, load).await.unwrap().found.unwrap().version
        });
    }
    while let Some(version) = tasks.join_next().await {
        assert_eq!(version.unwrap(), 1);
    }
    let loads = loads.load(Ordering::SeqCst);
    println!("{loads} loads");
    assert!((1..=3).contains(&loads), "{loads} loads");
}

#[tokio::test]
async fn whoever_loads_and_never_ends_or_fails_holds_nobody_up_for_long() {
    let (ambient, redis): (_, Redis) = (Ambient::system(), Stage::get().resource());
    let load = async || Ok::<_, ApiError>(Some(Versioned { version: 1, value: 1 }));
    let fail = async || Err::<Option<Versioned<u64>>, _>(ApiError::internal("the store is out"));

    let stuck = Key::product(ambient.id());
    let never = cache::read(&redis, &ambient, stuck, std::future::pending::<Result<Option<Versioned<u64>>, _>>());
    assert!(tokio::time::timeout(Duration::from_millis(50), never).await.is_err());
    let start = Instant::now();
    let read = cache::read(&redis, &ambient, stuck, load()).await.unwrap();
    assert!(read.status == Status::Miss && start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    let again = cache::read(&redis, &ambient, stuck, fail()).await.unwrap();
    assert_eq!(again.status, Status::Hit);

    let failing = Key::product(ambient.id());
    assert!(cache::read(&redis, &ambient, failing, fail()).await.is_err());
    let start = Instant::now();
    let read = cache::read(&redis, &ambient, failing, load()).await.unwrap();
    assert!(read.status == Status::Miss && start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}
