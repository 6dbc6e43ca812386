package manage

import (
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Residency is the region of this cluster, and the base URLs of the management APIs of
// all regions. A cluster without a region takes accounts of any.
type Residency struct {
	Region string
	Bases  map[string]string
}

// check refuses an account that belongs to another region; nil or "" names none, and
// such an account is at home wherever it is made.
func (r *Residency) check(region *string) error {
	if r.Region == "" || region == nil || *region == "" || *region == r.Region {
		return nil
	}
	where := ", and [regions] names no base URL for it"
	if base := r.Bases[*region]; base != "" {
		where = "; use the management API at " + base
	}
	e := fault.Newf(fault.WrongRegion, "region is not that of this cluster, %s%s.", r.Region, where)
	e.Param = "/region"
	return e
}
