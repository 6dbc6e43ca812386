package ui

import (
	"fmt"
	"strings"
)

// tiles is a map of the world on which each country is one square, about where it lies: the
// nearest free one to its middle, with more room for Europe and the Caribbean. The names are
// those of ISO 3166-1, and XK.
const tiles = `
                              GL IS FO    NO SE SJ FI EE
                  CA                IM GB NL DK AX LT LV          RU
                                 IE GG BE DE CZ PL SK BY
                                    JE LU LI AT HU RO MD UA    KZ
                           PM       FR CH SM SI HR RS BG GE UZ KG    MN
                  US    BM          ES MC IT BA ME XK TR AM AZ TJ       KP JP
                  CU BS TC AI       PT AD VA AL MK CY SY IQ TM AF NP CN KR
               MX KY DO VG MF BL    GI MA TN MT GR PS LB KW IR PK BT MO TW
UM             BZ JM HT VI SX AG GP EH MR DZ LY EG IL JO BH AE BD MM LA HK
               GT HN PR KN MS DM CV SN ML BF NE TD ER SA QA OM IN TH VN PH GU MP
               SV NI AW VC MQ LC BB GM GN BJ NG SS SD DJ YE    LK KH BN    PW    FM MH
               CR PA CW BQ GD TT GW SL GH TG CM CF UG ET SO MV    SG MY          NR KI
TK                   CO VE GY SR GF LR CI ST GQ CD RW KE SC IO          ID    PG
WS                   EC PE    BR          GA CG BI TZ KM          CC CX TL       SB    TV
AS    PF                   BO          SH    AO ZM MW YT MU                      VU FJ WF
NU CK    PN                PY                NA ZW MZ MG RE                AU    NC    TO
                                             ZA BW SZ                               NF
                        CL AR UY                LS
                                                                                    NZ
                                                            TF
                           FK    GS       AQ BV             HM
`

// The measures of the map, in units of its viewBox.
const (
	tilePitch = 10 // from one square to the next
	tileSide  = 9
	heats     = 5 // shades, by the number of requests
)

// places are the upper left corners of the countries' squares, in squares.
var places = func() map[string][2]int {
	at := map[string][2]int{}
	for y, row := range strings.Split(strings.Trim(tiles, "\n"), "\n") {
		for x := 0; x < len(row); x += 3 {
			if code := row[x : x+2]; code != "  " {
				at[code] = [2]int{x / 3, y}
			}
		}
	}
	return at
}()

// world is requests by country on a map.
type world struct {
	Width, Height int
	Land          string // the countries without requests, as a path of SVG
	Tiles         []tile // the others
	Nowhere       int64  // requests from a country that is not known, or not on the map
}

// tile is a country with requests.
type tile struct {
	Code     string
	X, Y     int
	Heat     int // 1 to heats
	Requests int64
}

// Side is the width of a country's square.
func (tile) Side() int { return tileSide }

// newWorld draws groups, the busiest first, that are countries. The shade grows with the root
// of the requests, so that one busy country does not make all others look alike. It is nil if
// no country is known.
func newWorld(groups []usageGroup) *world {
	w := &world{}
	busy := map[string]bool{}
	top := int64(0)
	for _, g := range groups {
		at, ok := places[g.Name]
		if !ok {
			w.Nowhere += g.Requests
			continue
		}
		top = max(top, g.Requests)
		heat := 1
		for heat < heats && int64(heat*heat)*top < g.Requests*heats*heats {
			heat++
		}
		busy[g.Name] = true
		w.Tiles = append(w.Tiles, tile{g.Name, at[0] * tilePitch, at[1] * tilePitch, heat, g.Requests})
	}
	if len(w.Tiles) == 0 {
		return nil
	}
	var land strings.Builder
	for y, row := range strings.Split(strings.Trim(tiles, "\n"), "\n") {
		for x := 0; x < len(row); x += 3 {
			if code := row[x : x+2]; code != "  " && !busy[code] {
				fmt.Fprintf(&land, "M%d %dh%dv%dh-%dz", x/3*tilePitch, y*tilePitch, tileSide, tileSide, tileSide)
			}
			w.Width = max(w.Width, x/3*tilePitch+tilePitch)
		}
		w.Height = y*tilePitch + tilePitch
	}
	w.Land = land.String()
	return w
}
