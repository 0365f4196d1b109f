use super::*;

#[test]
fn calls_are_apart_and_what_comes_early_takes_nothing() {
    let mut throttle = Throttle::new(Duration::from_millis(100));
    let start = Time::from_millis(5_000);
    assert_eq!(throttle.begin(start), Ok(()));
    for early in [0, 1, 99] {
        assert_eq!(throttle.begin(start + Duration::from_millis(early)), Err(start + Duration::from_millis(100)));
    }
    assert_eq!(throttle.begin(start + Duration::from_millis(250)), Ok(()));
    assert_eq!(throttle.begin(start + Duration::from_millis(300)), Err(start + Duration::from_millis(350)));
}
