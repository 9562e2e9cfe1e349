<?php
// Read by the wp-config.php of Debian's package.
$secret = fn (string $name): string => trim(file_get_contents("/run/wordpress/$name"));

define('DB_HOST', getenv('DB_HOST'));
define('DB_NAME', getenv('DB_NAME'));
define('DB_USER', getenv('DB_USER'));
define('DB_PASSWORD', $secret('db_password'));
define('DB_CHARSET', 'utf8mb4');
define('WP_HOME', getenv('SITE_URL'));
define('WP_SITEURL', getenv('SITE_URL'));
define('WP_CONTENT_DIR', '/srv/wordpress/wp-content');

foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $use) {
    foreach (['KEY', 'SALT'] as $kind) {
        define("{$use}_$kind", hash_hmac('sha256', "{$use}_$kind", $secret('salt')));
    }
}

// The packages of the image are what is updated; the site works without the internet.
define('FS_METHOD', 'direct');
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
