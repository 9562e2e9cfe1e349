<?php
// Does once what WordPress's installer asks a person for.
$_SERVER['HTTP_HOST'] = parse_url(getenv('SITE_URL'), PHP_URL_HOST);
$_SERVER['HTTPS'] = 'on';
define('WP_INSTALLING', true);
require '/srv/wordpress/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

// Nobody needs a mail about it.
function wp_new_blog_notification() {}

$secret = fn (string $name): string => trim(file_get_contents("/run/wordpress/$name"));
if (!is_blog_installed()) {
    wp_install(getenv('SITE_TITLE'), getenv('OWNER'), getenv('OWNER_EMAIL'), true, '', $secret('owner_password'));
    echo "WordPress is installed\n";
}
if (!username_exists(getenv('WRITER'))) {
    $writer = wp_insert_user([
        'user_login' => getenv('WRITER'),
        'user_email' => getenv('WRITER_EMAIL'),
        'user_pass' => $secret('writer_password'),
        'role' => 'author',
    ]);
    if (is_wp_error($writer)) {
        fwrite(STDERR, $writer->get_error_message() . "\n");
        exit(1);
    }
}
