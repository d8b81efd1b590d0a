/** The texts of `--help` and `help options`. Each fits into 80 columns and 24 lines, the prompt included. */

export const HELP = `Append a stream of bytes to an object of Alibaba Cloud OSS, and prove it.

  oss-append [options] oss://BUCKET/KEY [FILE]
  oss-append demo [--bytes 64MiB] [FILE]     on a server of its own: no account
  oss-append stat oss://BUCKET/KEY [--json]               what the object is
  oss-append cat oss://BUCKET/KEY [-f, --follow] [--interval 1s]    its bytes
  oss-append verify FILE oss://BUCKET/KEY [--json]  compare without downloading
  oss-append serve [--dir DIR] [--port N] [--host IP]    an OSS on this machine
  oss-append help options                                 every option there is

Reads FILE, or standard input if that is a pipe or a file (-: in any case).
Ctrl-C reads on for --grace 10s, a second one aborts. -h, --help -v, --version

  ffmpeg -i rtsp://cam -c copy -f mpegts - | oss-append oss://cams/gate.ts
  journalctl -f | oss-append --roll-key 'host/{yyyy}-{MM}.log' oss://logs/
  oss-append --local lab oss://lab/run7.csv < run7.csv    # no account: a folder

Environment: OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET, OSS_SESSION_TOKEN,
OSS_REGION, OSS_ENDPOINT, HTTPS_PROXY, NO_PROXY.
Exit code: 0 done and verified, 1 failed, 2 wrong usage, 3 somebody else wrote
to the object, 4 the object is not what was sent, 130/143 interrupted.
`

/** Every flag that `HELP` does not name. */
export const OPTIONS_HELP = `  place     --region ID  --endpoint HOST  --path-style  --cname
            --credentials MODULE  --connect-timeout 5s  --request-timeout 30s
            --local DIR: no account either, objects are kept in the folder DIR
  batches   --buffer 4MiB  --flush-interval 1s  --align line|chunk|BYTES
            --max-record-bytes 64MiB  --gzip
  object    --resume FILE: go on with it  --position end|N  --crc64 N
            --max-object-bytes 5GiB  --seal
  objects   --roll-key '{yyyy}-{MM}-{dd}/{HH}-{index}.log' (behind the KEY)
            --roll-bytes 5GiB  --time-zone UTC  --seal-on-roll
  creation  --meta K=V  --tag K=V  --content-type T  --content-encoding E
            --content-disposition D  --cache-control C  --expires DATE  --acl A
            --storage-class C  --server-side-encryption E
            --server-side-data-encryption E
  requests  --header K=V  --content-md5  --no-content-md5
  retries   --max-elapsed 5m (default: never give up)  --max-retries N
            --min-delay 200ms  --max-delay 20s
  output    --json: one object per event  --quiet
  Ctrl-C    reads on for --grace 10s, and sends it all; a second one aborts
`
