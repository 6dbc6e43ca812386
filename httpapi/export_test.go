package httpapi

import "github.com/perfgate/perfgate/httpapi/rest"

// Routes shows the route table to the tests of this package.
func (a *API) Routes() []*rest.Route { return a.routes.Routes() }

// Table is the lookup of both listeners.
func (a *API) Table() *rest.Table { return a.routes }
