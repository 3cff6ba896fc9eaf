# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
echo 'LISTEN 0 128 0.0.0.0:2222 0.0.0.0:* users:(("sshd",pid=90,fd=3))'
echo 'LISTEN 0 128 127.0.0.1:5433 0.0.0.0:* users:(("postgres",pid=300,fd=3))'
exit 0
