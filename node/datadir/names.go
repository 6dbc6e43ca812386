package datadir

import "strings"

// Files in the data directory. Each is replaced as a whole, mode 0600.
const (
	LockFile          = "LOCK"           // see [Lock]
	RestoringFile     = "RESTORING"      // a restore has begun and has not ended
	NodeIDFile        = "node-id"        // 32 hexadecimal digits, as long as the directory lives
	BootFile          = "boot"           // decimal number of starts
	LogEndFile        = "raftlog.end"    // how far the log reached: see the witness of store/raftlog
	RejoinFile        = "REJOIN"         // the node had damaged data and joins its cluster as a new one
	DamageFile        = "DAMAGED"        // one line: the part that was found damaged while the node ran, and why
	JoiningFile       = "JOINING"        // this node's id: it has joined a cluster, and nothing of its log has arrived
	FoundingFile      = "FOUNDING"       // the cluster is new and has too few voters: see [Founded]
	OperatorTokenFile = "operator.token" // written by the first start of a node that founds a cluster
	AdminCertFile     = "admin.crt"      // self-signed, PEM; clients may trust it as an authority
	AdminKeyFile      = "admin.key"      // its private key, PEM
	KeyringFile       = "keyring"        // the keys of the encrypted files, wrapped by the key in another place
	EncryptionKeyFile = "encryption.key" // that key, unless the configuration names another place
)

// The lines that [FoundingFile] may hold: where the new cluster comes from.
const (
	Founded  = "founded"  // nodes without a state formed it
	Restored = "restored" // it was restored from a backup, or recovered
)

// Directories in the data directory. store/disk owns one entry more, under a name that
// nothing else uses: ballast, for reserved space.
const (
	LogDir      = "raftlog"   // the replicated log, Pebble
	StateDir    = "state"     // the applied state, Pebble
	SnapshotDir = "snapshots" // of the state, for followers and restarts
	LocalDir    = "local"     // this node's usage and request audit, Pebble
	ClusterDir  = "cluster"   // of node/mesh: the node's certificate
)

// Names that store/local keeps beside LocalDir: the seal, which records its expected
// content, and at most three directories that were damaged, with the time in their name.
const (
	LocalSealFile = LocalDir + ".seal"
	DamagedPrefix = LocalDir + ".damaged-"
)

// AsideSuffix ends the names of snapshots that were found damaged.
const AsideSuffix = ".damaged"

// AsidePrefix begins the names of directories with parts that were damaged, followed by
// the time. They are not read any more, and hold what they held: files that were
// encrypted, and others.
const AsidePrefix = "damaged-"

// Encrypted reports whether the entry of the data directory with this name is encrypted,
// as are all files in it but the locks of databases. The others hold no secret, are
// needed before there is a key, or are for people and other programs.
func Encrypted(name string) bool {
	switch strings.TrimSuffix(name, TempSuffix) {
	case LogDir, StateDir, SnapshotDir, LocalDir, LocalSealFile, ClusterDir:
		return true
	}
	return strings.HasPrefix(name, DamagedPrefix) || strings.HasPrefix(name, StateDir+".")
}

// TempSuffix ends the name of a file that is written to replace another one. A
// crash may leave such a file; the next write truncates it.
const TempSuffix = ".tmp"
