package manage

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// amount is money on the wire: a JSON number in currency units. It is read and
// written as a decimal, so that no digit is lost to binary fractions.
type amount store.Money

// maxMoney bounds an amount: JSON numbers hold its billionths exactly.
const maxMoney = store.MaxAmount

// MarshalJSONTo writes the shortest decimal.
func (a amount) MarshalJSONTo(e *jsontext.Encoder) error {
	return e.WriteValue(store.Money(a).AppendDecimal(nil))
}

// UnmarshalJSONFrom reads a number that is a whole count of billionths.
func (a *amount) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '0' {
		if err := d.SkipValue(); err != nil {
			return err
		}
		return rest.BadField("must be a number")
	}
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	m, ok := parseMoney(string(v))
	if !ok || m == 0 {
		return rest.BadField("must be an amount above 0, up to %d, with at most %d digits after the point", maxMoney/store.MoneyUnit, store.MoneyDigits)
	}
	*a = amount(m)
	return nil
}

// parseMoney reads a JSON number of at most 64 bytes exactly, without rounding.
func parseMoney(s string) (store.Money, bool) {
	if len(s) > 64 {
		return 0, false
	}
	m, exact, err := store.ParseMoney(s)
	return m, err == nil && exact && m <= maxMoney
}
