package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// faultCase is a configuration with a fault.
type faultCase struct {
	file string
	args []string
	env  []string
	want []string // all in the error's text
	not  string   // not in it
}

var faultCases = map[string]faultCase{
	"unknown key":          {file: "[node]\nnmae = \"x\"", want: []string{"perfgate.toml: line 2: node.nmae = \"x\": unknown key", "name"}},
	"unknown table":        {file: "[nodes]\nname = \"x\"", want: []string{"nodes", "unknown key"}},
	"unknown at the top":   {file: "name = \"x\"", want: []string{"name = \"x\": unknown key"}},
	"dotted name":          {file: "\"node.name\" = \"x\"", want: []string{"node.name", "unknown key"}},
	"case":                 {file: "[node]\nName = \"x\"", want: []string{"node.Name", `did you mean "name"`}},
	"dash":                 {file: "[node]\ndata-dir = \"x\"", want: []string{`did you mean "data_dir"`}},
	"secret in the file":   {file: "[cluster]\nSecret = \"x\"", want: []string{"cluster.Secret", "unknown key"}},
	"number for duration":  {file: "[cluster]\nlease = 5", want: []string{"cluster.lease = 5: must be a duration in quotes"}},
	"bad duration":         {file: "[proxy]\ndrain = \"5\"", want: []string{`proxy.drain = "5": must be a duration`}},
	"negative duration":    {file: "[proxy]\ndrain = \"-5s\"", want: []string{`proxy.drain = "-5s"`, "from 0s to 1h"}},
	"number for string":    {file: "[node]\nname = 5", want: []string{"node.name = 5: must be a string"}},
	"string for bool":      {file: "[proxy]\ndemo = \"true\"", want: []string{`proxy.demo = "true": must be true or false`}},
	"string for list":      {file: "[proxy]\ntrusted_proxies = \"10.0.0.0/8\"", want: []string{"must be a list"}},
	"float for int":        {file: "[backup]\nkeep = 1.5", want: []string{"backup.keep = 1.5"}},
	"value for table":      {file: "node = 5", want: []string{"node = 5: must be a table"}},
	"number for size":      {file: "[audit]\nmax_bytes = 5", want: []string{"audit.max_bytes = 5"}},
	"bad size":             {file: "[audit]\nmax_bytes = \"64 miB\"", want: []string{`must be a size such as "64MiB"`}},
	"huge size":            {file: "[audit]\nmax_bytes = \"9999999TiB\"", want: []string{"audit.max_bytes"}},
	"small size":           {file: "[audit]\nmax_bytes = \"1B\"", want: []string{"1MiB"}},
	"host bits":            {file: "[proxy]\ntrusted_proxies = [\"10.1.2.3/8\"]", want: []string{`proxy.trusted_proxies[0] = "10.1.2.3/8"`, "10.0.0.0/8"}},
	"syntax":               {file: "[node]\nname = x", want: []string{"perfgate.toml: line 2"}},
	"twice":                {file: "[node]\nname = \"a\"\nname = \"b\"", want: []string{"perfgate.toml: line 3: key name is already defined; write it once"}},
	"table twice":          {file: "[node]\nname = \"a\"\n# x\n[log]\n\n[node]\nregion = \"b\"", want: []string{"perfgate.toml: line 6: table node already exists; write it once"}},
	"inline twice":         {file: "[[proxy.routes]]\npath = \"/\"\nheaders = { A = \"\"\"\n[node]\n\"\"\", A = \"x\" }", want: []string{"perfgate.toml: line 3: key A is already defined"}},
	"value and table":      {file: "[proxy]\ntls = 5\n\n[proxy.tls]\nmin_version = \"1.3\"", want: []string{"perfgate.toml: line 4: "}},
	"route key":            {file: "[[proxy.routes]]\npath = \"/\"\n[[proxy.routes]]\npaht = \"/\"", want: []string{`proxy.routes[1].paht`, "unknown key"}},
	"route type":           {file: "[[proxy.routes]]\npublic = \"yes\"", want: []string{`proxy.routes[0].public = "yes"`}},
	"pass_authorization":   {file: "[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]\npass_authorization = true", want: []string{"line 4: proxy.routes[0].pass_authorization = true: proxy.key_header must name"}},
	"route header":         {file: "[[proxy.routes]]\nheaders = { A = 5 }", want: []string{`proxy.routes[0].headers.A`}},
	"route timeout":        {file: "[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]\ntimeouts = { total = 5 }", want: []string{`proxy.routes[0].timeouts.total = 5: must be a duration`}},
	"two faults":           {file: "[node]\nname = 5\n[log]\nlevel = 6", want: []string{"node.name", "log.level"}},
	"no file":              {args: []string{"--config", "/nonexistent.toml"}, want: []string{"/nonexistent.toml: ", "no such file"}},
	"file is a directory":  {env: []string{"PERFGATE_CONFIG=/"}, want: []string{"/: ", "directory"}},
	"unknown flag":         {args: []string{"--nmae=x"}, want: []string{"--nmae"}},
	"argument":             {args: []string{"x"}, want: []string{`"x"`}},
	"flag type":            {args: []string{"--expect=three"}, want: []string{`--expect: cluster.expect = "three": must be a whole number`}},
	"flag value":           {args: []string{"--log-level=loud"}, want: []string{`--log-level: log.level = "loud": must be "debug", "info", "warn" or "error"`}},
	"env type":             {env: []string{"PERFGATE_EXPECT=three"}, want: []string{`PERFGATE_EXPECT: cluster.expect = "three"`}},
	"env value":            {env: []string{"PERFGATE_PROXY_LISTEN=8080"}, want: []string{`PERFGATE_PROXY_LISTEN: proxy.listen = "8080": must be HOST:PORT`}},
	"env list":             {env: []string{"PERFGATE_TRUSTED_PROXIES=10.0.0.0/8,x"}, want: []string{"PERFGATE_TRUSTED_PROXIES: proxy.trusted_proxies[1] = \"x\""}},
	"env bool":             {env: []string{"PERFGATE_DEMO=yes"}, want: []string{"PERFGATE_DEMO", "must be true or false"}},
	"port":                 {args: []string{"--admin-listen", "127.0.0.1:65536"}, want: []string{"admin.listen"}},
	"port name":            {args: []string{"--admin-listen", "127.0.0.1:http"}, want: []string{"admin.listen"}},
	"same address":         {args: []string{"--admin-listen", ":9", "--proxy-listen", ":9"}, want: []string{"admin.listen"}},
	"short secret":         {env: []string{"PERFGATE_CLUSTER_SECRET=hunter2"}, want: []string{"PERFGATE_CLUSTER_SECRET: must be a secret of 32"}, not: "hunter2"},
	"token":                {env: []string{"PERFGATE_OPERATOR_TOKEN=hunter 2 hunter 2 hunter 2"}, want: []string{"PERFGATE_OPERATOR_TOKEN: must be"}, not: "hunter"},
	"TLS 1.2 on admin":     {file: "[admin.tls]\nmin_version = \"1.2\"", want: []string{"admin.tls.min_version = \"1.2\": must be \"1.3\""}},
	"TLS 1.1":              {file: "[proxy.tls]\nmin_version = \"1.1\"", want: []string{"proxy.tls.min_version"}},
	"certificate alone":    {file: "[proxy.tls]\ncert_file = \"x\"", want: []string{"proxy.tls.key_file is missing"}},
	"CA alone":             {file: "[proxy.tls]\nclient_ca_file = \"x\"", want: []string{"proxy.tls.client_ca_file"}},
	"protocol of nobody":   {file: "[proxy]\nproxy_protocol = true", want: []string{"proxy.trusted_proxies must list"}},
	"key header":           {file: "[proxy]\nkey_header = \"authorization\"", want: []string{"always read"}},
	"header of HTTP":       {file: "[proxy]\nkey_header = \"content-LENGTH\"", want: []string{`line 2: proxy.key_header = "content-LENGTH": this header has a meaning of its own`}},
	"header of perfgate":   {file: "[proxy]\nkey_header = \"X-Perf-Key\"", want: []string{"proxy.key_header", "meaning of its own"}},
	"header of proxies":    {file: "[proxy]\nkey_header = \"X-Forwarded-For\"", want: []string{"proxy.key_header", "meaning of its own"}},
	"header of clients":    {file: "[proxy]\nkey_header = \"X-A\"\nclient_ip_header = \"x-a\"", want: []string{"proxy.key_header", "must differ from proxy.client_ip_header"}},
	"client in Host":       {file: "[proxy]\nclient_ip_header = \"host\"", want: []string{`proxy.client_ip_header = "host": this header has a meaning of its own`}},
	"blank secret":         {args: []string{"--cluster-listen", ":7946"}, env: []string{"PERFGATE_CLUSTER_SECRET= \t"}, want: []string{"cluster.secret_file", "PERFGATE_CLUSTER_SECRET is blank, and a cluster needs a secret"}},
	"cluster alone":        {args: []string{"--cluster-listen", ":7946"}, want: []string{`cluster.secret_file = "": a cluster needs a secret, here or in PERFGATE_CLUSTER_SECRET`}},
	"two secrets":          {args: []string{"--cluster-listen", ":7946"}, env: []string{"PERFGATE_CLUSTER_SECRET=" + strings.Repeat("s", 32)}, file: "[cluster]\nsecret_file = \"x\"", want: []string{"cluster.secret_file", "is set too"}, not: "ssss"},
	"join without listen":  {args: []string{"--join", "a:1,b:2"}, want: []string{`--join: cluster.join = ["a:1", "b:2"]: cluster.listen must be set too`}},
	"expect without join":  {args: []string{"--cluster-listen", ":7946", "--expect", "3"}, env: []string{"PERFGATE_CLUSTER_SECRET=" + strings.Repeat("s", 32)}, want: []string{"--expect: cluster.expect = 3: cluster.join must list"}},
	"cluster on the proxy": {args: []string{"--cluster-listen", ":8080"}, env: []string{"PERFGATE_CLUSTER_SECRET=" + strings.Repeat("s", 32)}, want: []string{"--cluster-listen: cluster.listen = \":8080\": must differ from proxy.listen"}},
	"long lease":           {file: "[cluster]\nlease = \"1m\"", want: []string{"cluster.lease = \"1m\": must be a duration from 1s to 9s"}},
	"sink without url":     {file: "[[audit.sinks]]\nformat = \"json\"", want: []string{"line 1: audit.sinks[0].url", `must be "syslog+tls://HOST:PORT"`}},
	"sink with password":   {file: "[[audit.sinks]]\nurl = \"https://u:p4ss@x\"", want: []string{"audit.sinks[0].url", "token_file"}, not: "p4ss"},
	"plain sink":           {file: "[[audit.sinks]]\nurl = \"http://x\"", want: []string{"audit.sinks[0].url"}},
	"relative sink":        {file: "[[audit.sinks]]\nurl = \"file:log\"", want: []string{"audit.sinks[0].url"}},
	"sink format":          {file: "[[audit.sinks]]\nurl = \"https://x\"\nformat = \"cef\"", want: []string{`audit.sinks[0].format = "cef"`}},
	"sinks twice":          {file: "[[audit.sinks]]\nurl = \"https://x\"\n[[audit.sinks]]\nurl = \"https://x\"", want: []string{"audit.sinks[1].url"}},
	"token for syslog":     {file: "[[audit.sinks]]\nurl = \"syslog+tls://x\"\ntoken_file = \"t\"", want: []string{"audit.sinks[0].token_file"}},
	"key of a sink":        {file: "[[audit.sinks]]\nurl = \"https://x\"\ntokn = \"t\"", want: []string{"audit.sinks[0].tokn"}},
	"metering url":         {file: "[metering]\nurl = \"https://u:hunter2@x.example/\"", want: []string{"metering.url", "without a user"}, not: "hunter2"},
	"metering form":        {file: "[metering]\nformat = \"csv\"", want: []string{"metering.format = \"csv\""}},
	"metering alone":       {file: "[metering]\ntoken_file = \"x\"", want: []string{"metering.url must be set too"}},
	"metering plain":       {file: "[metering]\nurl = \"http://x.example/\"\nca_file = \"x\"", want: []string{"metering.ca_file", "https"}},
	"mail alone":           {file: "[mail]\nsmtp = \"x:25\"", want: []string{"mail.from", "mail.to"}},
	"mail server":          {file: "[mail]\nsmtp = \"x\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]", want: []string{"mail.smtp = \"x\": must be HOST:PORT"}},
	"mail addresses":       {file: "[mail]\nsmtp = \"x:25\"\nfrom = \"a\"\nto = [\"a@b.c\", \"b\"]", want: []string{"mail.from", "mail.to[1]"}},
	"mail user":            {file: "[mail]\nusername = \"x\"", want: []string{"mail.password_file must be set too"}},
	"region without host":  {file: "[regions]\neu-west = \"eu.example.com\"", want: []string{`line 2: regions.eu-west = "eu.example.com": must be the base URL`}},
	"region with secret":   {file: "[regions]\neu = \"https://u:p@x\"", want: []string{"regions.eu", "must be the base URL"}, not: "u:p"},
	"region as a list":     {file: "[regions]\neu = [\"https://x\"]", want: []string{"regions.eu", "must be a string"}},
	"oidc without id":      {file: "[signin.oidc]\nissuer = \"https://x\"", want: []string{"signin.oidc.client_id = \"\": must be the id"}},
	"oidc in plaintext":    {file: "[signin.oidc]\nissuer = \"http://x\"\nclient_id = \"a\"", want: []string{"signin.oidc.issuer = \"http://x\": must be an https URL"}},
	"oidc without issuer":  {file: "[signin.oidc]\nclient_id = \"a\"", want: []string{"signin.oidc.client_id = \"a\": signin.oidc.issuer must be set too"}},
	"oidc role":            {file: "[signin.oidc]\nissuer = \"https://x\"\nclient_id = \"a\"\nroles = {staff = \"king\"}", want: []string{"signin.oidc.roles.staff", "must be owner, admin"}},
	"idle above max":       {file: "[signin]\nidle = \"2h\"\nmax = \"1h\"", want: []string{"signin.idle = \"2h\": must not be longer than signin.max"}},
	"host with a port":     {file: "[signin]\nallowed_hosts = [\"a:1\"]", want: []string{"signin.allowed_hosts", "without a port"}},
	"grpc address":         {file: "[doors]\ngrpc_listen = \"9001\"", want: []string{"line 2: doors.grpc_listen = \"9001\": must be HOST:PORT"}},
	"grpc on the proxy":    {file: "[doors]\ngrpc_listen = \":8080\"", want: []string{"line 2: doors.grpc_listen = \":8080\": must differ from proxy.listen"}},
	"otlp without scheme":  {file: "[telemetry]\notlp_endpoint = \"127.0.0.1:4318\"", want: []string{"line 2: telemetry.otlp_endpoint = \"127.0.0.1:4318\": must be the base URL of a collector"}},
	"otlp by gRPC":         {file: "[telemetry]\notlp_endpoint = \"grpc://x:4317\"", want: []string{"telemetry.otlp_endpoint", "OTLP over HTTP"}},
	"otlp with password":   {file: "[telemetry]\notlp_endpoint = \"https://u:hidden@x\"", want: []string{"telemetry.otlp_endpoint", "must not hold a password"}, not: "hidden"},
	"country of anybody":   {file: "[geoip]\nheader = \"X-C\"", want: []string{"line 2: geoip.header = \"X-C\": proxy.trusted_proxies must list the proxies that send it"}},
	"country header":       {file: "[proxy]\ntrusted_proxies = [\"10.0.0.0/8\"]\n[geoip]\nheader = \"authorization\"", want: []string{"geoip.header", "meaning of its own"}},
	"backup rhythm":        {file: "[backup]\ndir = \"x\"\nevery = \"30s\"\nkeep = 0", want: []string{"backup.every = \"30s\"", "backup.keep = 0"}},
	"recipient":            {file: "[backup]\ndir = \"x\"\nrecipients = [\"age1x\"]", want: []string{"backup.recipients[0] = \"age1x\": must be the public key that age-keygen prints"}},
	"private recipient":    {file: "[backup]\ndir = \"x\"\nrecipients = [\"AGE-SECRET-KEY-1X\"]", want: []string{"backup.recipients[0]", "this is the private one"}, not: "KEY-1X"},
	"recipient, no folder": {file: "[backup]\nrecipients = [\"age1xl9qn7xhypd003z4rhdk6ru6l6ct5q3d4cjwh5wx26f3tlk2me4qu8n5cd\"]", want: []string{"backup.recipients", "backup.dir must be set too"}},
	"recipient twice":      {file: "[backup]\ndir = \"x\"\nrecipients = [\"age1xl9qn7xhypd003z4rhdk6ru6l6ct5q3d4cjwh5wx26f3tlk2me4qu8n5cd\", \"age1xl9qn7xhypd003z4rhdk6ru6l6ct5q3d4cjwh5wx26f3tlk2me4qu8n5cd\"]", want: []string{"recipient 2 is listed twice"}},
	"both seals":           {file: "[backup]\ndir = \"x\"\nrecipients = [\"age1xl9qn7xhypd003z4rhdk6ru6l6ct5q3d4cjwh5wx26f3tlk2me4qu8n5cd\"]", env: []string{"PERFGATE_BACKUP_PASSPHRASE=hidden"}, want: []string{"either with a passphrase or for recipients"}, not: "hidden"},
	"security.txt scheme":  {file: "[security_txt]\ncontact = \"a@b.c\"\nexpires = \"2027-01-01T00:00:00Z\"", want: []string{"security_txt.contact", "mailto:"}},
	"security.txt expires": {file: "[security_txt]\ncontact = \"mailto:a@b.c\"", want: []string{"security_txt.expires"}},
	"security.txt alone":   {file: "[security_txt]\npolicy = \"https://b.c\"", want: []string{"security_txt.contact"}},
	"tier":                 {file: "[accounts]\ndefault_tier = \"gold\"", want: []string{"accounts.default_tier = \"gold\": must be \"free\", \"pro\" or \"enterprise\""}},
}

// Every fault names source, key and value, and is a usage error.
func TestFaults(t *testing.T) {
	for name, tt := range faultCases {
		t.Run(name, func(t *testing.T) {
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config", configtest.File(t, tt.file))
			}
			_, err := Load(args, configtest.Environ(tt.env...))
			var usage *UsageError
			if !errors.As(err, &usage) || configtest.ExitCode(err) != 2 {
				t.Fatalf("Load = %v, want a usage error", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error\n%v\ndoes not say %q", err, want)
				}
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("the error says %q: %v", tt.not, err)
			}
		})
	}
}
