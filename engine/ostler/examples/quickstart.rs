//! The cache in a minute: put in, get out, load, expire, bound, and see what happened.
//!
//! `cargo run --release -p ostler --example quickstart`

use std::error::Error;
use std::time::Duration;

use ostler::{Cause, InsertOptions, Stored};

fn main() -> Result<(), Box<dyn Error>> {
    // A thousand entries, the policy s3fifo in charge. Cloning a cache shares it, so a service keeps
    // one and hands clones to its threads.
    let cache = ostler::builder::<u64, String>(1000)?
        .on_removal(|key, _value, cause| {
            if cause == Cause::Expired {
                println!("{key} has expired");
            }
        })
        .build()?;

    assert_eq!(cache.insert(7, "seven".to_owned()), Stored::New);
    assert_eq!(cache.get(&7).as_deref(), Some("seven"));
    assert_eq!(cache.get(&8), None);

    // Loads what is missing: one load for each key, however many threads ask at once.
    let eight = cache.get_or_insert_with(&8, || "eight, from the database".to_owned());
    println!("8 is {eight:?}, and now resident: {}", cache.contains(&8));

    // Changes a value without losing what another thread writes meanwhile.
    let _ = cache.update(7, |old| format!("{old} and a half"));
    println!("7 is {:?}", cache.peek(&7));

    // An entry can have a time to live of its own. An expired entry is never returned.
    let brief = InsertOptions::new().ttl(Duration::ZERO);
    let _ = cache.insert_with(9, "gone at once".to_owned(), brief);
    assert_eq!(cache.get(&9), None);
    let _ =
        cache.insert_with(10, "ten".to_owned(), InsertOptions::new().ttl(Duration::from_secs(60)));
    cache.expire_after(&10, Some(Duration::ZERO));
    assert_eq!(cache.get(&10), None);

    // The bound holds whatever comes: the policy says what goes. What may be resident on top, until a
    // batch of news has reached the policy, is the slack.
    for key in 100..5000 {
        let _ = cache.insert(key, format!("value {key}"));
    }
    let stats = cache.stats();
    assert!(stats.weight <= stats.capacity + stats.slack);
    println!("{} entries of {} and {} slack", stats.entries, stats.capacity, stats.slack);
    println!("{} inserted, {} evicted, {} expired", stats.inserted, stats.evicted, stats.expired);

    // A bound in bytes instead of entries: say what an entry weighs.
    let bytes = ostler::builder::<u64, Vec<u8>>(1 << 20)?
        .weigher(|_key, value| u32::try_from(8 + value.len()).unwrap_or(u32::MAX))
        .build()?;
    let _ = bytes.insert(1, vec![0; 300_000]);
    println!("{} bytes of {}", bytes.weight(), bytes.capacity());
    Ok(())
}
