package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/geo"
	"github.com/perfgate/perfgate/node/serve"
)

// Load is [config.Load] with the routes checked too.
func Load(args []string, env config.Getenv) (*config.Config, error) {
	fs := config.Flags()
	if err := fs.Parse(args); err != nil {
		return nil, config.FlagError(err)
	}
	return LoadFlags(fs, env)
}

// LoadFlags is [Load] with flags that are parsed already.
func LoadFlags(fs *pflag.FlagSet, env config.Getenv) (*config.Config, error) {
	c, err := inspect(fs, env)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// inspect is [config.Inspect] with the faults of the routes: they must not fail a
// start halfway through.
func inspect(fs *pflag.FlagSet, env config.Getenv) (*config.Config, error) {
	c, err := config.Inspect(fs, env)
	if c == nil {
		return nil, err
	}
	_, routes := compileRoutes(c, "")
	return c, errors.Join(err, routes)
}

// checkFiles looks at the files and directories that c names, changes nothing, and
// returns every fault found. The certificates are by listener; a self-signed one is
// not among them.
func checkFiles(c *config.Config) (certs map[string]*serve.Certificates, err error) {
	_, err = c.ClusterSecret()
	_, noPassword := c.MailPassword()
	_, noSecret := c.OIDCSecret()
	faults := []error{err, noPassword, noSecret}
	if _, _, err := c.MeteringFiles(); err != nil {
		faults = append(faults, err)
	}
	for i := range c.Audit.Sinks {
		_, _, err := c.SinkFiles(i)
		faults = append(faults, err)
	}
	if err := datadir.Check(c.Node.DataDir); err != nil {
		faults = append(faults, c.Fault("node.data_dir", err.Error()))
	}
	if path := c.GeoIP.Database; path != "" {
		if err := geo.Check(path); err != nil {
			faults = append(faults, c.Fault("geoip.database", err.Error()))
		}
	}
	certs = map[string]*serve.Certificates{}
	for _, name := range []string{"proxy", "admin"} {
		if from, ok := certificateSource(c, name); ok && len(from.SelfSigned) == 0 {
			opened, err := openCertificates(c, name, slog.New(slog.DiscardHandler))
			if err != nil {
				faults = append(faults, err)
				continue
			}
			certs[name] = opened
		}
	}
	return certs, errors.Join(faults...)
}

// probeFlag makes check-config connect to the upstreams.
const probeFlag = "probe"

// CheckFlags are the flags of check-config, those of [config.Flags] among them.
func CheckFlags() *pflag.FlagSet {
	fs := config.Flags()
	fs.Bool(probeFlag, false, "connect to every upstream too")
	return fs
}

// Check is a call of "perfgate check-config".
type Check struct {
	Flags   *pflag.FlagSet // from CheckFlags
	Env     config.Getenv
	Environ []string // all variables, "NAME=value"
	Out     io.Writer
	Err     io.Writer // for warnings
}

// Run prints "ok" if a node could start with the configuration; otherwise the error
// holds every fault. Warnings are printed in both cases.
func (k *Check) Run(ctx context.Context) error {
	c, err := inspect(k.Flags, k.Env)
	warned := config.UnknownVariables(k.Environ)
	if c != nil {
		certs, files := checkFiles(c)
		ending, expired := certificateDates(c, certs, time.Now())
		err = errors.Join(err, files, expired)
		warned = append(append(warned, warnings(c)...), ending...)
	}
	for _, w := range warned {
		fmt.Fprintf(k.Err, "warning: %v\n", w)
	}
	if c != nil {
		if shadowed := ownPaths(c); shadowed.paths != "" {
			fmt.Fprintf(k.Err, "%s: %s: %s\n", shadowed.kind(), shadowed, shadowed.paths)
		}
	}
	if connect, _ := k.Flags.GetBool(probeFlag); err == nil && connect {
		err = probe(ctx, c)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(k.Out, "ok")
	return err
}

// certificateSoon is the time before its end from which a certificate is warned about.
const certificateSoon = 14 * 24 * time.Hour

// certificateDates reports the certificates that are not valid at now, as faults,
// and those that soon will not be. They are no faults of a start: clients that do not
// verify may depend on the node.
func certificateDates(c *config.Config, certs map[string]*serve.Certificates, now time.Time) (ending []error, expired error) {
	var faults []error
	for _, name := range []string{"proxy", "admin"} {
		if certs[name] == nil {
			continue
		}
		key := name + ".tls.cert_file"
		switch end := certs[name].Leaf().NotAfter; {
		case certs[name].Problem() != "":
			faults = append(faults, c.Fault(key, "the certificate is not valid now: "+certs[name].Problem()))
		case end.Sub(now) < certificateSoon:
			ending = append(ending, c.Fault(key, "the certificate ends soon, at "+end.UTC().Format(time.RFC3339)))
		}
	}
	return ending, errors.Join(faults...)
}
