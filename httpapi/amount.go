package httpapi

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store"
)

// amount is money on the wire: a JSON number in currency units. It is read and
// written as a decimal, so that no digit is lost to binary fractions.
type amount store.Money

// maxMoney bounds an amount: JSON numbers hold its billionths exactly.
const maxMoney = 9_000_000 * store.MoneyUnit

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
		return badField("want a number")
	}
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	m, ok := parseMoney(string(v))
	if !ok || m == 0 {
		return badField("want an amount above 0, up to %d, with at most %d digits after the point", maxMoney/store.MoneyUnit, store.MoneyDigits)
	}
	*a = amount(m)
	return nil
}

// parseMoney reads a JSON number exactly.
func parseMoney(s string) (store.Money, bool) {
	if s == "" || s[0] == '-' || len(s) > 64 {
		return 0, false
	}
	mantissa, exp, shift := s, "", 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exp = s[:i], s[i+1:]
		n, err := strconv.Atoi(exp)
		if err != nil || n > 64 || n < -64 {
			return 0, false
		}
		shift = n
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	shift += store.MoneyDigits - len(frac) // of the digits, as billionths
	if shift < 0 {
		cut := max(len(digits)+shift, 0)
		if strings.Trim(digits[cut:], "0") != "" {
			return 0, false
		}
		digits, shift = digits[:cut], 0
	}
	if digits == "" {
		return 0, true
	}
	if len(digits)+shift > 19 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits+strings.Repeat("0", shift), 10, 64)
	if err != nil || store.Money(n) > maxMoney {
		return 0, false
	}
	return store.Money(n), true
}
