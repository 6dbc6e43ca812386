package serve

import (
	// The image is built from scratch and has no certificate authorities: without
	// these, https upstreams could not be verified there. They are used only where
	// the system has none of its own.
	_ "golang.org/x/crypto/x509roots/fallback"
)
