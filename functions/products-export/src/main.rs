//! `GET /v1/products/export`: all products, streamed from one query in bounded memory.

use futures_util::TryStreamExt;
use shared::{
    api::{
        export::Form,
        products::{ExportLine, ProductsExport},
    },
    error::ApiError,
    lambda::{Content, Output, Request, Stopped},
    store::mysql::product_export::{self, Products},
};
use uuid::Uuid;

shared::lambda!(ProductsExport, handle);

async fn handle(needs: Needs, req: Request<ProductsExport>) -> Result<Export, ApiError> {
    let after = req.query.after;
    let products = product_export::begin(&needs.mysql, after).await?;
    Ok(Export { form: Form::of(req.media_type), products, after, count: 0 })
}

struct Export {
    form: Form,
    products: Products,
    /// The last product sent, or the one that this export resumes after.
    after: Option<Uuid>,
    count: u64,
}

impl Content for Export {
    async fn write(&mut self, output: &mut Output) -> Result<(), Stopped> {
        output.write(&self.form.head()?).await?;
        while let Some(product) = self.products.try_next().await? {
            let id = product.id;
            output.write(&self.form.line(&ExportLine::Product(product.into()))?).await?;
            (self.after, self.count) = (Some(id), self.count + 1);
        }
        output.write(&self.form.line(&ExportLine::End { products: self.count })?).await
    }

    fn error_trailer(&self, error: &ApiError, request_id: &str) -> Vec<u8> {
        let problem = error.problem();
        let (problem, title) = (problem.urn().to_owned(), problem.title().to_owned());
        let error = ExportLine::Error { problem, title, after: self.after, request_id: request_id.to_owned() };
        // Without its last line an export is incomplete either way.
        self.form.line(&error).unwrap_or_default()
    }

    fn items(&self) -> u64 {
        self.count
    }
}
