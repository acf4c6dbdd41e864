//! Forcing an instruction set is for the whole process, so this test has one of its own.

use teller_numeric::Isa;

#[test]
fn what_is_forced_is_detected_until_it_is_not() {
    let widest = Isa::detect();
    for isa in Isa::available() {
        Isa::force(Some(isa));
        assert_eq!(Isa::detect(), isa);
        assert_eq!(Isa::named(isa.name()), Some(isa));
    }
    Isa::force(None);
    assert_eq!(Isa::detect(), widest);
    assert_eq!(Isa::named("mmx"), None);
}
