package proxy

import (
	"os"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

func TestMain(m *testing.M) { os.Exit(apitest.RunTwice(m)) }
