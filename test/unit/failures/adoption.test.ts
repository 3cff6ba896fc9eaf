import { testSteps } from "./step";
import type { State } from "./world";

/** The name of a dump tells when it was made. */
const alike = (state: State): State =>
  new Map([...state].map(([path, text]) => [path.replace(/\d{8}T\d{6}Z/, "DATE"), text]));

testSteps([
  {
    step: "adoption",
    after: ["runtime"],
    host: `echo '[Service]
ExecStart=/opt/old/bin/mlflow server --backend-store-uri postgresql://handmade:secret@localhost:5433/handmade --default-artifact-root ./mlartifacts --port 5000
WorkingDirectory=/srv/old
[Install]' >/etc/systemd/system/handmade.service
      mkdir -p /srv/old/mlartifacts
      echo 'an artifact' >/srv/old/mlartifacts/1.artifact
      systemctl enable --now handmade.service
      echo 'proxy_pass http://127.0.0.1:5000;' >/etc/nginx/sites-available/handmade
      ln -s /etc/nginx/sites-available/handmade /etc/nginx/sites-enabled/handmade
      systemctl reload nginx.service
      cp -r "$WORLD/.state/pg/databases/postgres" "$WORLD/.state/pg/databases/handmade"
      echo handmade >"$WORLD/.state/pg/databases/handmade/owner"
      printf '%s\\n' schema=schema-of-3.16.1 row=1 artifact=/srv/old/mlartifacts/1.artifact >"$WORLD/.state/pg/databases/handmade/data"`,
    alike,
  },
]);
