package ui

import (
	"fmt"
	"strings"

	"github.com/boombuler/barcode/qr"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// factorView is the page of the second factor.
type factorView struct {
	On     bool
	Secret *client.FactorSecret // to enter into the authenticator; nil before it was asked for
	Code   *squares             // the secret's URL to scan; nil if it is too long
	Codes  []string             // recovery codes, shown once
}

func factorPage(v *visit) error {
	return v.ask("factor", "Second factor", factorView{On: v.me.SecondFactor}, nil)
}

// changeFactor makes a secret, puts it in force, or turns the second factor off.
func changeFactor(v *visit) error {
	sessions := client.SessionsOf(v.api)
	b := factorView{On: v.me.SecondFactor}
	password := v.r.PostFormValue("password")
	var err error
	switch v.form("do") {
	case "new":
		if b.Secret, err = sessions.NewSecondFactor(v.context()); err == nil {
			b.Code = scannable(b.Secret.URL)
			return v.ask("factor", "Second factor", b, nil)
		}
	case "set":
		var u *client.User
		if u, err = sessions.SetSecondFactor(v.context(), password, v.form("secret"), strings.ReplaceAll(v.form("code"), " ", "")); err == nil {
			b.On, b.Codes = true, u.RecoveryCodes
			return v.ask("factor", "Second factor", b, nil)
		}
		b.Secret = &client.FactorSecret{Secret: v.form("secret"), URL: v.form("url")}
		b.Code = scannable(b.Secret.URL)
	case "remove":
		if _, err = sessions.RemoveSecondFactor(v.context(), password); err == nil {
			return v.see("/second-factor")
		}
	default:
		return fault.Newf(fault.InvalidValue, "The form asks for nothing that can be done.")
	}
	f, err := asked(err)
	if f == nil {
		return err
	}
	return v.ask("factor", "Second factor", b, f)
}

// squares are the dark squares of a code to scan.
type squares struct {
	Size int    // of the code with its margin, in squares
	Path string // in SVG
}

// quiet is the margin that scanners need, in squares.
const quiet = 4

// scannable is a text as a QR code; nil if it does not fit into one.
func scannable(text string) *squares {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return nil
	}
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := 0; x < size; x++ {
			from := x
			for x < size && isDark(code.At(x, y)) {
				x++
			}
			if x > from {
				fmt.Fprintf(&path, "M%d %dh%dv1H%dz", from+quiet, y+quiet, x-from, from+quiet)
			}
		}
	}
	return &squares{size + 2*quiet, path.String()}
}

// isDark holds for a square that is not white.
func isDark(c interface{ RGBA() (r, g, b, a uint32) }) bool {
	r, _, _, _ := c.RGBA()
	return r < 0x8000
}
